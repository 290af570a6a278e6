/** Edited metadata as the operations that make it from the metadata that was read. */
import { isEqual, isObject, type Json, type JsonObject, pathText } from '@/ui/json/exact';

export interface Change {
  path: string;
  before: Json | undefined;
  /** undefined: the key is removed. */
  after: Json | undefined;
}

export interface Operation {
  op: 'SET' | 'UNSET';
  path: string;
  value?: Json;
}

const MAX_OPERATIONS = 100;

/** Returns the differences of two objects; where an array has another length, the whole array. */
export function changesOf(before: JsonObject, after: JsonObject): Change[] {
  const precise = [...differences(before, after, [])];
  return precise.length <= MAX_OPERATIONS ? precise : [...keyDifferences(before, after, [], false)];
}

type Path = readonly (string | number)[];

function* differences(before: Json | undefined, after: Json | undefined, path: Path): Generator<Change> {
  if (before !== undefined && after !== undefined) {
    if (isEqual(before, after)) return;
    if (isObject(before) && isObject(after)) {
      yield* keyDifferences(before, after, path, true);
      return;
    }
    if (Array.isArray(before) && Array.isArray(after) && before.length === after.length) {
      for (const [at, each] of before.entries()) yield* differences(each, after[at], [...path, at]);
      return;
    }
  }
  yield { path: pathText(path), before, after };
}

function* keyDifferences(
  before: JsonObject,
  after: JsonObject,
  path: Path,
  isDeep: boolean,
): Generator<Change> {
  const keys = [...Object.keys(before), ...Object.keys(after).filter((key) => !Object.hasOwn(before, key))];
  for (const key of keys) {
    const [old, next] = [valueAt(before, key), valueAt(after, key)];
    if (isDeep) yield* differences(old, next, [...path, key]);
    else if (old === undefined || next === undefined || !isEqual(old, next)) {
      yield { path: pathText([...path, key]), before: old, after: next };
    }
  }
}

const valueAt = (object: JsonObject, key: string): Json | undefined =>
  Object.hasOwn(object, key) ? object[key] : undefined;

export const operationsOf = (changes: readonly Change[]): Operation[] =>
  changes.map(({ path, after }) =>
    after === undefined ? { op: 'UNSET', path } : { op: 'SET', path, value: after },
  );

/** Returns the changes of others that touch what is edited: the same path, one above it or one below it. */
export function overlaps(mine: readonly Change[], theirs: readonly Change[]): Change[] {
  const isWithin = (path: string, above: string): boolean => path === above || path.startsWith(`${above}.`);
  return theirs.filter((each) =>
    mine.some(({ path }) => isWithin(path, each.path) || isWithin(each.path, path)),
  );
}

/** Returns metadata with my edits and the changes of others since I read it. Where both changed a value, mine stays. */
export function merge(before: JsonObject, mine: JsonObject, theirs: JsonObject): JsonObject {
  const keys = new Set([...Object.keys(theirs), ...Object.keys(mine)]);
  const merged: JsonObject = {};
  for (const key of keys) {
    const value = mergeValue(valueAt(before, key), valueAt(mine, key), valueAt(theirs, key));
    if (value !== undefined) Object.defineProperty(merged, key, { value, ...PLAIN });
  }
  return merged;
}

const PLAIN = { enumerable: true, configurable: true, writable: true };

function mergeValue(before?: Json, mine?: Json, theirs?: Json): Json | undefined {
  if (isSame(mine, before)) return theirs;
  if (isSame(theirs, before)) return mine;
  return isObject(before) && isObject(mine) && isObject(theirs) ? merge(before, mine, theirs) : mine;
}

const isSame = (one?: Json, other?: Json): boolean =>
  one === undefined || other === undefined ? one === other : isEqual(one, other);
