import { describe, expect, it } from 'vitest';
import { isEqual, jsonText, parseJson, pathText, sizeText } from './exact';

describe('JSON with exact numbers', () => {
  it.each(['9007199254740993', '[1.10,1e400]', '{"__proto__":1}', '"9"', 'null'])(
    '%s stays as it is',
    (text) => {
      expect(jsonText(parseJson(text))).toBe(text);
    },
  );

  it('says what is wrong with a text', () => {
    expect(() => parseJson('{"a":}')).toThrow(SyntaxError);
  });

  it.each([
    ['{"a":1,"b":2}', '{"b":2,"a":1}', true],
    ['9007199254740993', '9007199254740992', false],
    ['[1]', '[1,null]', false],
    ['{"a":null}', '{}', false],
    ['{"a":null}', '{"b":null}', false],
  ])('compares %s with %s: %s', (one, other, expected) => {
    expect(isEqual(parseJson(one), parseJson(other))).toBe(expected);
  });

  it('writes paths and sizes', () => {
    expect(pathText(['a.b', 0, 'c\\'])).toBe('a\\.b.0.c\\\\');
    expect(sizeText(999)).toBe('999 bytes');
    expect(sizeText(1_500_000)).toBe('1.5 MB');
  });
});
