/** The text of the search bar as a filter of the API. */
import type { TaskFilter, TaskStatus } from '@/gql/graphql';
import { STATUSES } from '@/ui/StatusBadge';
import { type Field, fieldOf, FIELDS } from './fields';
import { conditions } from './metadata';
import { parse, type Term, type Value } from './syntax';
import { parseTime } from './times';

export interface Compiled {
  filter: TaskFilter;
  /** Why parts of the text are no condition; the rest of it is the filter. */
  problems: string[];
}

/** A part of the filter, or why there is none. */
type Part = TaskFilter | string;

/** Compiles with the ages counted back from the time of day of this computer. */
export const compileNow = (text: string): Compiled => compile(text, Date.now());

export function compile(text: string, now: number): Compiled {
  const compiled: Compiled = { filter: {}, problems: [] };
  for (const term of united(parse(text))) {
    const part = partOf(term, now);
    if (typeof part === 'string') compiled.problems.push(part);
    else add(compiled.filter, term.isNegated ? { NOT: part } : part);
  }
  return compiled;
}

/** Makes one term of terms with the same key that list values: no task has two states. */
function united(terms: readonly Term[]): Term[] {
  const result: Term[] = [];
  for (const term of terms) {
    const isList = !term.isNegated && term.key !== null && fieldOf(term.key)?.kind === 'list';
    const same = isList ? result.find(({ key, isNegated }) => key === term.key && !isNegated) : undefined;
    if (same) same.values = [...same.values, ...term.values];
    else result.push({ ...term });
  }
  return result;
}

/** Adds a part: beside the others where there is room, else as one more filter that must match. */
function add(filter: TaskFilter, part: TaskFilter): void {
  const isFree = Object.keys(part).every((key) => !(key in filter));
  if (isFree) Object.assign(filter, part);
  else filter.AND = [...(filter.AND ?? []), part];
}

function partOf({ key, path, values }: Term, now: number): Part {
  if (key === null) return anyOf(values);
  const field = fieldOf(key);
  if (!field)
    return `“${key}:” is not a word of the search. It knows ${FIELDS.map((each) => each.key).join(', ')}.`;
  if (field.kind === 'metadata' && !path) return 'Write the path too, like metadata.customer.tier:gold.';
  if (values.length === 0) return `“${key}${path ? `.${path}` : ''}:” needs a value, like ${field.example}.`;
  switch (field.kind) {
    case 'metadata':
      return inMetadata(path ?? '', values);
    case 'time':
      return inTime(field, values, now);
    case 'parent':
      return values.length === 1
        ? { parentId: values[0]?.text }
        : { OR: values.map(({ text }) => ({ parentId: text })) };
    case 'yesNo':
      return yesOrNo(field, values);
    case 'list':
      return listed(field, values);
  }
}

/** A word alone is the id or the name of a task. */
function anyOf(values: readonly Value[]): Part {
  const texts = values.map(({ text }) => text);
  return { OR: [{ ids: texts }, { names: texts }] };
}

const YES_NO: Partial<Record<string, boolean>> = { yes: true, no: false, true: true, false: false };

function yesOrNo({ key, input, example }: Field, values: readonly Value[]): Part {
  const meant = values.map(({ text }) => YES_NO[text.toLowerCase()]);
  const [first] = meant;
  if (meant.length !== 1 || first === undefined) return `“${key}:” is yes or no, like ${example}.`;
  return { [input]: first };
}

function listed(field: Field, values: readonly Value[]): Part {
  const texts = values.map(({ text }) => text);
  if (field.key !== 'status') {
    const pattern = values.find(({ text, isQuoted }) => text.endsWith('*') && !isQuoted);
    if (pattern)
      return `“${field.key}:” finds whole values only; ${pattern.text} has a *. Quote it if it is meant.`;
    return { [field.input]: texts };
  }
  const statuses = texts.map((text) => text.toUpperCase());
  const unknown = statuses.find((status) => !STATUSES.includes(status as TaskStatus));
  if (unknown !== undefined) return `There is no status ${unknown}. There are ${STATUSES.join(', ')}.`;
  return { statuses: statuses as TaskStatus[] };
}

function inMetadata(path: string, values: readonly Value[]): Part {
  const [first, ...others] = conditions(path, values);
  if (!first) return 'The condition on the metadata needs a value.';
  if (others.length === 0) return { metadata: [first] };
  return { OR: [first, ...others].map((condition) => ({ metadata: [condition] })) };
}

function inTime(field: Field, values: readonly Value[], now: number): Part {
  const ranges: TaskFilter[] = [];
  for (const { text } of values) {
    const range = parseTime(text, now);
    if (!range) {
      return `“${field.key}:${text}” is no time. Examples: <2h, >7d, today, 2030-01-31, >=2030-01-31T18:00, 2030-01-01..2030-01-31.`;
    }
    ranges.push({ [field.input]: range });
  }
  return ranges.length === 1 ? (ranges[0] ?? {}) : { OR: ranges };
}
