/**
 * The text of the search bar as terms: `status:FAILURE,RETRY -name:send_mail metadata.customer.tier:"two words"`. Spaces
 * separate terms, commas separate alternatives, a minus excludes, and quotes protect all of these.
 */

export interface Value {
  text: string;
  /** Whether the value was quoted: then it is a text, whatever it looks like. */
  isQuoted: boolean;
}

export interface Term {
  /** Where the term is in the text. */
  start: number;
  end: number;
  isNegated: boolean;
  /** The word before the colon; null for a word alone. */
  key: string | null;
  /** The path behind `metadata.`; null for other keys. */
  path: string | null;
  values: Value[];
}

const METADATA = 'metadata.';

export function parse(text: string): Term[] {
  return split(text, /\s/).map(({ start, end }) => parseTerm(text.slice(start, end), start));
}

/** Returns the parts between separators outside of quotes; empty parts are left out. */
function split(text: string, separator: RegExp): { start: number; end: number }[] {
  const parts: { start: number; end: number }[] = [];
  let start = 0;
  for (const end of [...unquoted(text, separator), text.length]) {
    if (end > start) parts.push({ start, end });
    start = end + 1;
  }
  return parts;
}

/** Returns the positions of the characters outside of quotes that match. */
export function unquoted(text: string, wanted: RegExp): number[] {
  const positions: number[] = [];
  let isQuoted = false;
  for (let index = 0; index < text.length; index += 1) {
    const character = text.charAt(index);
    if (character === '"') isQuoted = !isQuoted;
    else if (isQuoted && character === '\\') index += 1;
    else if (!isQuoted && wanted.test(character)) positions.push(index);
  }
  return positions;
}

function parseTerm(raw: string, start: number): Term {
  const isNegated = raw.length > 1 && raw.startsWith('-');
  const body = isNegated ? raw.slice(1) : raw;
  const [colon] = unquoted(body, /:/);
  const place = { start, end: start + raw.length, isNegated };
  if (colon === undefined) return { ...place, key: null, path: null, values: [parseValue(body)] };
  const values = split(body.slice(colon + 1), /,/).map((part) =>
    parseValue(body.slice(colon + 1 + part.start, colon + 1 + part.end)),
  );
  const key = body.slice(0, colon);
  const isMetadata = key.toLowerCase().startsWith(METADATA);
  return {
    ...place,
    key: isMetadata ? 'metadata' : unquote(key).toLowerCase(),
    path: isMetadata ? parsePath(key.slice(METADATA.length)) : null,
    values,
  };
}

const parseValue = (raw: string): Value => ({ text: unquote(raw), isQuoted: raw.includes('"') });

/** Removes quotes; within them a backslash protects the next character. */
function unquote(raw: string): string {
  return raw.replace(/"((?:[^"\\]|\\.)*)"?/g, (_, inner: string) => inner.replace(/\\(.)/g, '$1'));
}

/** Removes quotes from a path; a dot within them belongs to the key, which the API writes with a backslash. */
function parsePath(raw: string): string {
  return raw.replace(/"((?:[^"\\]|\\.)*)"?/g, (_, inner: string) => escapeKey(inner.replace(/\\(.)/g, '$1')));
}

/** Returns a key as a part of a path of the API. */
const escapeKey = (key: string): string => key.replace(/[\\.]/g, '\\$&');

const quoted = (text: string): string => `"${text.replace(/["\\]/g, '\\$&')}"`;

/** Returns a value as a text that is read back as the same value. */
export const writeText = (text: string): string => (/^[^\s",:]+$/.test(text) ? text : quoted(text));

/** Returns a text of the metadata, quoted where it would be read as a number, a comparison or a pattern. */
export const writeMetadataText = (text: string): string =>
  /^[^\s",:<>*]+$/.test(text) && !text.includes('..') && !isLiteral(text) ? text : quoted(text);

/** Whether a text reads as a number, true, false or null. */
export const isLiteral = (text: string): boolean =>
  /^-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?$|^(true|false|null)$/.test(text);

/** Returns the key of a term for a path of the API. */
export function writePath(path: string): string {
  // Quotes would change the meaning of the path's backslashes, so that single keys are quoted.
  const keys = path.match(/(?:[^.\\]|\\.)+/g) ?? [];
  return (
    METADATA + keys.map((key) => (/[\s",:]/.test(key) ? quoted(key.replace(/\\(.)/g, '$1')) : key)).join('.')
  );
}

/** Returns the values of the terms with this key that exclude nothing. */
export const valuesOf = (text: string, key: string): string[] =>
  parse(text)
    .filter((term) => term.key === key && !term.isNegated)
    .flatMap(({ values }) => values.map((value) => value.text));

/** Replaces the terms with this key that exclude nothing. Without values the key is removed. */
export function withValues(text: string, key: string, values: readonly string[]): string {
  const added = values.length > 0 ? [`${key}:${values.map(writeText).join(',')}`] : [];
  const isMine = (term: Term): boolean => term.key === key && !term.isNegated;
  const terms = parse(text);
  const first = terms.findIndex(isMine);
  const others = (some: readonly Term[]): string[] =>
    some.filter((term) => !isMine(term)).map(({ start, end }) => text.slice(start, end));
  const before = first < 0 ? terms : terms.slice(0, first);
  const behind = first < 0 ? [] : terms.slice(first);
  return [...others(before), ...added, ...others(behind)].join(' ');
}
