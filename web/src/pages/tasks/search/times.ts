/** Times in the search bar: an age like `<2h`, a day, a time, or a range `2030-01-01..2030-01-05`. */
import type { DateTimeRange } from '@/gql/graphql';

const UNITS: Record<string, number> = { s: 1e3, m: 6e4, min: 6e4, h: 3.6e6, d: 8.64e7, w: 6.048e8 };
const AGE = /^(\d+(?:\.\d+)?)(s|min|m|h|d|w)$/;
const TIME = /^(\d{4}-\d\d-\d\d)(?:T(\d\d:\d\d)(?::(\d\d)(\.\d{1,3})?)?)?(Z|[+-]\d\d:?\d\d)?$/;

/** A stretch of time, in milliseconds of the epoch; the end is not part of it. */
interface Span {
  start: number;
  end: number;
}

/** Returns the range that a value means, or null if it means none. Ages are counted back from now. */
export function parseTime(text: string, now: number): DateTimeRange | null {
  const [from, to, ...rest] = text.split('..');
  if (to !== undefined && rest.length === 0) return between(span(from ?? '', now), span(to, now));
  const [, operator = '', value = ''] = /^(>=|<=|>|<)?(.*)$/.exec(text) ?? [];
  const age = AGE.exec(value);
  if (age) return ofAge(operator, now - Number(age[1]) * (UNITS[age[2] ?? ''] ?? 0));
  const time = span(value, now);
  return time && compared(operator, time);
}

/** An age below two hours begins two hours ago; one above ended then. */
const ofAge = (operator: string, at: number): DateTimeRange =>
  operator.startsWith('>') ? { lt: iso(at) } : { gte: iso(at) };

function compared(operator: string, { start, end }: Span): DateTimeRange {
  if (operator === '>') return { gte: iso(end) };
  if (operator === '>=') return { gte: iso(start) };
  if (operator === '<') return { lt: iso(start) };
  if (operator === '<=') return { lt: iso(end) };
  return { gte: iso(start), lt: iso(end) };
}

const between = (from: Span | null, to: Span | null): DateTimeRange | null =>
  from && to && { gte: iso(from.start), lt: iso(to.end) };

function span(text: string, now: number): Span | null {
  const age = AGE.exec(text);
  if (age) {
    const at = now - Number(age[1]) * (UNITS[age[2] ?? ''] ?? 0);
    return { start: at, end: at };
  }
  if (text === 'now') return { start: now, end: now };
  if (text === 'today') return day(new Date(now), 0);
  if (text === 'yesterday') return day(new Date(now), -1);
  return exact(text);
}

function day(date: Date, offset: number): Span {
  const at = (days: number): number =>
    new Date(date.getFullYear(), date.getMonth(), date.getDate() + days).getTime();
  return { start: at(offset), end: at(offset + 1) };
}

/** A day, minute, second or millisecond, in the zone of the browser unless the text names one. */
function exact(text: string): Span | null {
  const match = TIME.exec(text);
  if (!match) return null;
  const [, date = '', minutes, seconds, fraction, zone = ''] = match;
  if (minutes === undefined && zone === '') {
    const start = new Date(`${date}T00:00`);
    return Number.isNaN(start.getTime()) ? null : day(start, 0);
  }
  const start = Date.parse(`${date}T${minutes ?? '00:00'}:${seconds ?? '00'}${fraction ?? ''}${zone}`);
  const length =
    minutes === undefined ? 8.64e7 : seconds === undefined ? 6e4 : fraction === undefined ? 1e3 : 1;
  return Number.isNaN(start) ? null : { start, end: start + length };
}

const iso = (at: number): string => new Date(at).toISOString();
