import { LosslessNumber } from 'lossless-json';
import { describe, expect, it } from 'vitest';
import { definitionPath, replayPath, taskPath, tasksPath } from './paths';

const search = (path: string): string | null => new URL(path, 'http://board').searchParams.get('q');

describe('addresses', () => {
  it('of the list hold a search', () => {
    const path = tasksPath({
      status: 'FAILURE',
      name: 'shop.import',
      errorType: 'ValueError',
      queue: 'mail',
      parent: 'a-b',
      finishedSince: '2030-01-01T00:00:00.000Z',
      isReplayed: false,
    });
    expect(search(path)).toBe(
      'status:FAILURE name:shop.import queue:mail error:ValueError parent:a-b finished:>=2030-01-01T00:00:00.000Z replayed:no',
    );
  });

  it.each([
    ['two words', 'name:"two words"'],
    ['a"b\\c', 'name:"a\\"b\\\\c"'],
    ['<b>&q=1#', 'name:"<b>&q=1#"'],
    ['wild*', 'name:"wild*"'],
  ])('hold the name %s as it is', (name, text) => {
    expect(search(tasksPath({ name }))).toBe(text);
  });

  it.each([
    [{ keys: ['customer', 'tier'], value: 'gold' }, 'metadata.customer.tier:"gold"'],
    [{ keys: ['a.b', 'c d'], value: null }, 'metadata."a.b"."c d":null'],
    [{ keys: ['id'], value: new LosslessNumber('9007199254740993') }, 'metadata.id:9007199254740993'],
  ])('hold the metadata %o', (metadata, text) => {
    expect(search(tasksPath({ metadata }))).toBe(text);
  });

  it('of details hold any name and id', () => {
    expect(new URL(definitionPath('a&b=?#/ü'), 'http://board').searchParams.get('name')).toBe('a&b=?#/ü');
    expect(taskPath('../x?y')).toBe('/tasks/..%2Fx%3Fy');
    expect(replayPath('a&b')).toBe('/create?from=a%26b');
  });
});
