/** JSON whose numbers keep their digits: integers beyond 2^53 are not changed by reading, showing and writing them. */
import { isLosslessNumber, type LosslessNumber, parse, stringify } from 'lossless-json';

export type Json = null | boolean | string | LosslessNumber | Json[] | JsonObject;
export interface JsonObject {
  [key: string]: Json;
}

/** Reads a JSON text, and throws a SyntaxError that says what is wrong and where. */
export function parseJson(text: string): Json {
  // A text alone has no numbers, and the browser reads it many times faster.
  const start = text.trimStart();
  return (start.startsWith('"') ? JSON.parse(text) : parse(text)) as Json;
}

export const jsonText = (value: unknown, indent?: number): string =>
  stringify(value, undefined, indent) ?? 'null';

export const isObject = (value: unknown): value is JsonObject =>
  typeof value === 'object' && value !== null && !Array.isArray(value) && !isLosslessNumber(value);

/** Returns whether two values are equal as JSON; the order of keys does not matter, the digits of numbers do. */
export function isEqual(one: Json, other: Json): boolean {
  if (isLosslessNumber(one)) return isLosslessNumber(other) && one.value === other.value;
  if (Array.isArray(one)) {
    return (
      Array.isArray(other) &&
      one.length === other.length &&
      one.every((each, at) => isEqual(each, other[at] ?? null))
    );
  }
  if (!isObject(one)) return one === other;
  const keys = Object.keys(one);
  return (
    isObject(other) &&
    keys.length === Object.keys(other).length &&
    keys.every((key) => Object.hasOwn(other, key) && isEqual(one[key] ?? null, other[key] ?? null))
  );
}

/** Returns a path as filters and operations have it: keys between dots, with a backslash before a dot in a key. */
export const pathText = (path: readonly (string | number)[]): string =>
  path.map((key) => String(key).replace(/[\\.]/g, '\\$&')).join('.');

const UNITS = ['bytes', 'KB', 'MB', 'GB'];

/** Returns the size of a text as people read it. */
export function sizeText(characters: number): string {
  let size = characters;
  let unit = 0;
  while (size >= 1_000 && unit < UNITS.length - 1) {
    size /= 1_000;
    unit += 1;
  }
  return `${unit === 0 ? size : size.toFixed(1)} ${UNITS[unit] ?? ''}`;
}
