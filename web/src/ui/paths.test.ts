import { describe, expect, it } from 'vitest';
import { definitionPath, taskPath, tasksPath } from './paths';

const search = (path: string): string | null => new URL(path, 'http://board').searchParams.get('q');

describe('addresses', () => {
  it('of the list hold a search', () => {
    const path = tasksPath({
      status: 'FAILURE',
      name: 'shop.import',
      errorType: 'ValueError',
      queue: 'mail',
      finishedSince: '2030-01-01T00:00:00.000Z',
    });
    expect(search(path)).toBe(
      'status:FAILURE name:shop.import queue:mail error:ValueError finished:>=2030-01-01T00:00:00.000Z',
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

  it('of details hold any name and id', () => {
    expect(new URL(definitionPath('a&b=?#/ü'), 'http://board').searchParams.get('name')).toBe('a&b=?#/ü');
    expect(taskPath('../x?y')).toBe('/tasks/..%2Fx%3Fy');
  });
});
