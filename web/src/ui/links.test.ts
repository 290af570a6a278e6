import { LosslessNumber } from 'lossless-json';
import { describe, expect, it } from 'vitest';
import { createLink, searchText, taskLink, tasksLink } from './links';

describe('links to the list', () => {
  it.each([
    [{ name: 'shop.import', status: 'FAILURE' }, 'name:shop.import status:FAILURE'],
    [{ queue: 'two words' }, 'queue:"two words"'],
    [{ name: 'a"b\\c' }, 'name:"a\\"b\\\\c"'],
    [{ metadata: { keys: ['customer', 'tier'], value: 'gold' } }, 'metadata.customer.tier:"gold"'],
    [{ metadata: { keys: ['a.b', 'c d'], value: null } }, 'metadata."a.b"."c d":null'],
    [
      { metadata: { keys: ['id'], value: new LosslessNumber('9007199254740993') } },
      'metadata.id:9007199254740993',
    ],
  ])('%o is the search %s', (search, text) => {
    expect(searchText(search)).toBe(text);
    expect(new URL(tasksLink(search), 'http://board').searchParams.get('q')).toBe(text);
  });

  it('and to pages hold any id and name', () => {
    expect(taskLink('../x?y')).toBe('/tasks/..%2Fx%3Fy');
    expect(createLink({ name: 'a&b' })).toBe('/create?name=a%26b');
    expect(createLink({})).toBe('/create');
  });
});
