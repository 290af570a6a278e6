/**
 * Filters with integers that JavaScript's JSON cannot write: they are written into the document as a literal, since
 * variables would lose digits.
 */
import { isLosslessNumber } from 'lossless-json';
import type { TaskFilter } from '@/gql/graphql';

/** What takes the place of `filter: $filter` and of the variable. */
export interface Written {
  filter: TaskFilter;
  literal: string | null;
}

export function write(filter: TaskFilter): Written {
  return hasExact(filter) ? { filter: {}, literal: literal(filter) } : { filter, literal: null };
}

/** Returns a document that has the literal beside its variable. */
export const withLiteral = (document: string, { literal: text }: Written): string =>
  text === null ? document : document.replaceAll('filter: $filter', `filter: {AND: [$filter, ${text}]}`);

function hasExact(value: unknown): boolean {
  if (isLosslessNumber(value)) return true;
  return typeof value === 'object' && value !== null && Object.values(value).some(hasExact);
}

function literal(value: unknown, isEnum = false): string {
  if (isLosslessNumber(value)) return value.value;
  if (Array.isArray(value)) return `[${value.map((each) => literal(each, isEnum)).join(', ')}]`;
  if (typeof value === 'object' && value !== null) {
    const fields = Object.entries(value).map(([key, each]) => `${key}: ${literal(each, key === 'statuses')}`);
    return `{${fields.join(', ')}}`;
  }
  return isEnum ? String(value) : JSON.stringify(value);
}
