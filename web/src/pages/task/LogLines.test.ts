import { describe, expect, it } from 'vitest';
import { partsOf } from './LogLines';

describe('what is searched in a line', () => {
  it.each([
    ['one two one', 'one', ['', 'one', ' two ', 'one', '']],
    ['One', 'oN', ['', 'On', 'e']],
    ['<b>', 'b', ['<', 'b', '>']],
    ['none', 'x', ['none']],
    ['İi', 'i', ['İi']],
  ])('%s with %s', (text, find, parts) => {
    expect(partsOf(text, find)).toEqual(parts);
    expect(parts.join('')).toBe(text);
  });
});
