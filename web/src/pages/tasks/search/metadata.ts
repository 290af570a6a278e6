/** Conditions on the metadata: `metadata.n:>=3`, `metadata.tier:gold,silver`, `metadata.sku:A-*`, `metadata.note:*`. */
import { LosslessNumber } from 'lossless-json';
import type { MetadataCondition } from '@/gql/graphql';
import { isLiteral, type Value } from './syntax';

const OPERATORS = { '>=': 'gte', '<=': 'lte', '>': 'gt', '<': 'lt' } as const;
const MAX_INTEGER = 2n ** 63n - 1n;
const MIN_INTEGER = -(2n ** 63n);

/** Returns the conditions of which one has to hold. */
export function conditions(path: string, values: readonly Value[]): MetadataCondition[] {
  const equal: unknown[] = [];
  const others: MetadataCondition[] = [];
  for (const value of values) {
    const comparison = value.isQuoted ? null : compared(path, value.text);
    if (comparison) others.push(comparison);
    else equal.push(...(value.isQuoted ? [value.text] : meanings(value.text)));
  }
  if (equal.length === 0) return others;
  return [equal.length === 1 ? { path, eq: equal[0] } : { path, in: equal }, ...others];
}

function compared(path: string, text: string): MetadataCondition | null {
  const [, operator, operand] = /^(>=|<=|>|<)(.+)$/.exec(text) ?? [];
  if (operator !== undefined && operand !== undefined) {
    return { path, [OPERATORS[operator as keyof typeof OPERATORS]]: bound(operand) };
  }
  const [, from, to] = /^(.+?)\.\.(.+)$/.exec(text) ?? [];
  if (from !== undefined && to !== undefined) return { path, gte: bound(from), lte: bound(to) };
  if (text === '*') return { path, exists: true };
  return text.endsWith('*') ? { path, startsWith: text.slice(0, -1) } : null;
}

/** Returns a number if the text is one, otherwise the text. */
const bound = (text: string): unknown => number(text) ?? text;

/** Returns the values that a text without quotes can stand for: 5 finds the number and the text. */
function meanings(text: string): unknown[] {
  if (!isLiteral(text)) return [text];
  if (!/\d/.test(text)) return [JSON.parse(text), text];
  const exact = number(text);
  return exact === null ? [text] : [exact, text];
}

/** Returns a number with all of its digits, or null where the text is no number that the API can store. */
function number(text: string): number | LosslessNumber | null {
  if (!/^-?\d/.test(text) || !isLiteral(text)) return null;
  if (!/^-?\d+$/.test(text)) return Number(text);
  if (Number.isSafeInteger(Number(text))) return Number(text);
  const exact = BigInt(text);
  return exact > MAX_INTEGER || exact < MIN_INTEGER ? null : new LosslessNumber(text);
}
