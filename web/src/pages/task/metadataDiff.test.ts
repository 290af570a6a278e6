import { describe, expect, it } from 'vitest';
import { type JsonObject, jsonText, parseJson } from '@/ui/json/exact';
import { changesOf, merge, operationsOf, overlaps } from './metadataDiff';

const object = (text: string) => parseJson(text) as JsonObject;
const operations = (before: string, after: string) =>
  jsonText(operationsOf(changesOf(object(before), object(after))));

describe('the operations of edited metadata', () => {
  it.each([
    ['{"a":1}', '{"a":1}', '[]'],
    ['{"a":1}', '{"a":1.0}', '[{"op":"SET","path":"a","value":1.0}]'],
    ['{"a":1,"b":2}', '{"b":2}', '[{"op":"UNSET","path":"a"}]'],
    ['{"a":{"b":1,"c":2}}', '{"a":{"b":1,"c":3}}', '[{"op":"SET","path":"a.c","value":3}]'],
    ['{"a":[1,2]}', '{"a":[1,3]}', '[{"op":"SET","path":"a.1","value":3}]'],
    ['{"a":[1,2]}', '{"a":[1]}', '[{"op":"SET","path":"a","value":[1]}]'],
    ['{"a":null}', '{}', '[{"op":"UNSET","path":"a"}]'],
    ['{}', '{"a":null}', '[{"op":"SET","path":"a","value":null}]'],
    ['{"a.b":1}', '{"a.b":2}', '[{"op":"SET","path":"a\\\\.b","value":2}]'],
    [
      '{"id":9007199254740993}',
      '{"id":9007199254740994}',
      '[{"op":"SET","path":"id","value":9007199254740994}]',
    ],
  ])('%s to %s: %s', (before, after, expected) => {
    expect(operations(before, after)).toBe(expected);
  });

  it('are at most as many as one call takes, where whole values are enough', () => {
    const many = (value: number) =>
      object(`{"a":{${Array.from({ length: 150 }, (_, at) => `"k${at}":${value}`).join(',')}}}`);
    expect(changesOf(many(1), many(2))).toHaveLength(1);
  });

  it('conflict with changes of others at, above and below their paths', () => {
    const change = (path: string) => ({ path, before: null, after: null });
    const theirs = ['a', 'a.b', 'a.b.c', 'a.x', 'ab'].map(change);
    expect(overlaps([change('a.b')], theirs).map(({ path }) => path)).toEqual(['a', 'a.b', 'a.b.c']);
  });
});

describe('edits on top of the changes of others', () => {
  it.each([
    ['{"a":1,"b":1}', '{"a":2,"b":1}', '{"a":1,"b":3}', '{"a":2,"b":3}'],
    ['{"a":1}', '{"a":2}', '{"a":3}', '{"a":2}'],
    ['{"a":1}', '{}', '{"a":1,"b":2}', '{"b":2}'],
    ['{"a":{"x":1,"y":1}}', '{"a":{"x":2,"y":1}}', '{"a":{"x":1,"y":2}}', '{"a":{"x":2,"y":2}}'],
    ['{"a":1}', '{"a":1,"n":1}', '{}', '{"n":1}'],
  ])('%s, mine %s, theirs %s: %s', (before, mine, theirs, expected) => {
    expect(jsonText(merge(object(before), object(mine), object(theirs)))).toBe(expected);
  });
});
