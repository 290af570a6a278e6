import { describe, expect, it } from 'vitest';
import type { Ask } from '@/live/useRefreshed';
import {
  type FailedTask,
  type FailureGroup,
  groupFilter,
  groupKey,
  keepOrder,
  loadFailures,
  withFailure,
} from './failures';

const group = (name: string, count = 1, errorType = 'ValueError'): FailureGroup => ({
  name,
  errorType,
  count,
  latest: { id: `${name}-1`, finishedAt: '2030-01-01T00:00:00.500000+00:00', message: 'no' },
});

interface Asked {
  filter: { names?: string[]; errorTypes?: string[] };
}

/** Answers as the API would for these failures: name, type, time. */
function api(...failures: [name: string, type: string, at: string][]): { ask: Ask; asked: Asked[] } {
  const asked: Asked[] = [];
  const facet = (values: string[]) =>
    [...new Set(values)].map((value) => ({ value, count: values.filter((each) => each === value).length }));
  const ask = (_: unknown, variables: Asked): Promise<unknown> => {
    asked.push(variables);
    const { names, errorTypes } = variables.filter;
    const found = failures.filter(
      ([name, type]) => (names?.includes(name) ?? true) && (errorTypes?.includes(type) ?? true),
    );
    const [latest] = [...found].sort(([, , a], [, , b]) => b.localeCompare(a));
    const nodes = latest
      ? [{ id: latest[2], finishedAt: latest[2], error: { type: latest[1], message: `of ${latest[0]}` } }]
      : [];
    return Promise.resolve({ tasks: { nodes, facet: facet(found.map((each) => each[names ? 1 : 0])) } });
  };
  return { ask: ask as Ask, asked };
}

describe('failures that need attention', () => {
  it('are grouped by name and type, each group with its latest failure', async () => {
    const { ask } = api(
      ['a', 'KeyError', '2030-01-01T00:00:01Z'],
      ['a', 'ValueError', '2030-01-01T00:00:03Z'],
      ['a', 'KeyError', '2030-01-01T00:00:02Z'],
      ['b', 'KeyError', '2030-01-01T00:00:04Z'],
    );
    const { groups, total, others } = await loadFailures(ask, '2030-01-01T00:00:00Z');
    expect(groups.map(({ name, errorType, count, latest }) => [name, errorType, count, latest.id])).toEqual([
      ['a', 'KeyError', 2, '2030-01-01T00:00:02Z'],
      ['a', 'ValueError', 1, '2030-01-01T00:00:03Z'],
      ['b', 'KeyError', 1, '2030-01-01T00:00:04Z'],
    ]);
    expect([total, others]).toEqual([4, 0]);
  });

  it('take one request, and one more for each name that fails with one type', async () => {
    const { ask, asked } = api(['a', 'E', '2030-01-01T00:00:01Z'], ['b', 'E', '2030-01-01T00:00:02Z']);
    await loadFailures(ask, '2030-01-01T00:00:00Z');
    expect(asked).toHaveLength(3);
  });

  it('of very many names are counted only', async () => {
    const { ask } = api(
      ...Array.from({ length: 30 }, (_, n): [string, string, string] => [`n${n}`, 'E', `${n}`]),
    );
    const { groups, total, others } = await loadFailures(ask, '2030-01-01T00:00:00Z');
    expect([groups.length, total, others]).toEqual([20, 30, 10]);
  });
});

describe('the groups', () => {
  it('stay where they are, and new ones come after them', () => {
    const before = keepOrder([group('a', 1), group('b', 5)], []);
    expect(before.map(({ name }) => name)).toEqual(['b', 'a']);
    const after = keepOrder([group('c', 99), group('a', 50), group('b', 5)], before.map(groupKey));
    expect(after.map(({ name }) => name)).toEqual(['b', 'a', 'c']);
  });

  it('with the same name and different errors are different', () => {
    expect(groupKey(group('a', 1, 'b'))).not.toBe(groupKey(group('a', 1, 'c')));
  });

  it('act on the failures that they show, not on those of the replays that they make', () => {
    expect(groupFilter(group('a'), '2029-12-31T23:00:00.000Z')).toEqual({
      statuses: ['FAILURE'],
      isReplayed: false,
      names: ['a'],
      errorTypes: ['ValueError'],
      finishedAt: { gte: '2029-12-31T23:00:00.000Z', lt: '2030-01-01T00:00:00.501Z' },
    });
  });
});

describe('a failure that has just come', () => {
  const known = { groups: [group('a', 2)], total: 2, others: 0, from: '2030-01-01T00:00:00Z' };
  const failed = (name: string, type: string, second: number, changed = second): FailedTask => {
    const [finishedAt, updatedAt] = [second, changed].map((at) => `2030-01-01T00:00:0${at}.000000+00:00`) as [
      string,
      string,
    ];
    return { id: `${name}-${second}`, name, finishedAt, updatedAt, error: { type } };
  };

  it('is counted in its group, whose latest it is', () => {
    const { groups, total } = withFailure(known, failed('a', 'ValueError', 3));
    expect(groups).toHaveLength(1);
    expect(groups[0]).toMatchObject({ count: 3, latest: { id: 'a-3', message: 'no' } });
    expect(total).toBe(3);
  });

  it('is a group of its own behind the others, if it is the first of its name and type', () => {
    const { groups } = withFailure(known, failed('b', 'ValueError', 3));
    expect(groups.map(({ name, count }) => [name, count])).toEqual([
      ['a', 2],
      ['b', 1],
    ]);
  });

  it('is not counted twice, nor before the window, nor again when its metadata change', () => {
    const once = withFailure(known, failed('a', 'ValueError', 3));
    expect(withFailure(once, failed('a', 'ValueError', 3))).toBe(once);
    expect(withFailure(known, failed('b', 'ValueError', 3, 4))).toBe(known);
    const later = { ...known, from: '2030-01-01T00:00:05Z' };
    expect(withFailure(later, failed('b', 'ValueError', 3))).toBe(later);
  });
});
