import { describe, expect, it } from 'vitest';
import { parseExactly } from './exactJson';

describe('the answers in the playground', () => {
  it('are the values of the JSON', () => {
    expect(parseExactly('{"a": [1, "2", null, true, {"b": 0.5}]}')).toEqual({
      a: [1, '2', null, true, { b: 0.5 }],
    });
  });

  it.runIf('rawJSON' in JSON)('keep the digits of their numbers', () => {
    const text = '{"a":[9007199254740993,1.0,1e400,-0,12]}';
    expect(JSON.stringify(parseExactly(text))).toBe(text);
  });
});
