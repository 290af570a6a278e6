/** What the search bar can complete at the caret. */
import { fieldOf } from './fields';
import { parse, unquoted } from './syntax';

export interface Place {
  /** What a completion replaces. */
  start: number;
  end: number;
  /** What has been typed of it. */
  typed: string;
  wants: 'word' | 'path' | 'value';
  key: string;
  path: string | null;
  /** The text without the term: values are counted among the tasks that the rest finds. */
  rest: string;
}

export function placeAt(text: string, caret: number): Place {
  const term = parse(text).find(({ start, end }) => start <= caret && caret <= end);
  if (!term) return { start: caret, end: caret, typed: '', wants: 'word', key: '', path: null, rest: text };
  const rest = `${text.slice(0, term.start)} ${text.slice(term.end)}`.trim();
  const start = term.start + (term.isNegated ? 1 : 0);
  const body = text.slice(start, term.end);
  const [colon] = unquoted(body, /:/);
  if (colon !== undefined && caret > start + colon) {
    return {
      ...valueAt(text, start + colon + 1, term.end, caret),
      key: term.key ?? '',
      path: term.path,
      rest,
    };
  }
  const typed = text.slice(start, caret);
  const isPath = typed.toLowerCase().startsWith('metadata.');
  // A completion replaces the word with its colon, and leaves the value.
  const end = colon === undefined ? term.end : start + colon + 1;
  return {
    start,
    end,
    typed: isPath ? typed.slice('metadata.'.length) : typed,
    wants: isPath ? 'path' : 'word',
    key: '',
    path: null,
    rest,
  };
}

/** The value between the commas around the caret. */
function valueAt(text: string, from: number, to: number, caret: number) {
  const commas = unquoted(text.slice(from, to), /,/).map((comma) => from + comma);
  const start = (commas.findLast((comma) => comma < caret) ?? from - 1) + 1;
  const end = commas.find((comma) => comma >= caret) ?? to;
  return { start, end, typed: text.slice(start, caret).replaceAll('"', ''), wants: 'value' as const };
}

/** Replaces the place by a completion. Returns the text, and where the caret goes. */
export function complete(
  text: string,
  { start, end, wants }: Place,
  written: string,
): { text: string; caret: number } {
  const behind = text.slice(end);
  const space = wants === 'value' && behind === '' ? ' ' : '';
  return {
    text: text.slice(0, start) + written + space + behind,
    caret: start + written.length + space.length,
  };
}

/** Whether the values at a place can be completed. */
export const hasValues = ({ wants, key, path }: Place): boolean =>
  wants === 'value' && fieldOf(key)?.facet !== undefined && (key !== 'metadata' || path !== null);
