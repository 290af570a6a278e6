import { beforeEach, describe, expect, it } from 'vitest';
import { type Change, type Entry, LiveList } from './LiveList';

interface Row {
  id: string;
  revision: number;
  updatedAt: string;
  at: number;
}

const time = (second: number): string => `2030-01-01T00:00:${String(second).padStart(2, '0')}Z`;
const row = (id: string, at: number, revision = 1): Row => ({ id, at, revision, updatedAt: time(revision) });
const updated = (task: Row): Change<Row> => ({ kind: 'UPDATED', taskId: task.id, at: task.updatedAt, task });
const removed = (kind: 'LEFT' | 'DELETED', taskId: string): Change<Row> => ({
  kind,
  taskId,
  at: time(9),
  task: null,
});

describe('a live list, newest first', () => {
  let list: LiveList<Row>;
  const entries = (): readonly Entry<Row>[] => list.contents().entries.slice(0, Infinity);
  const shown = (): string[] => entries().map(({ row, gone }) => `${row.id}${row.revision}${gone ?? ''}`);

  beforeEach(() => {
    list = new LiveList<Row>({ compare: (one, other) => other.at - one.at, has: ({ at }) => at > 0 });
    list.beginLoad();
    list.addPage([row('c', 30), row('b', 20), row('a', 10)], true, false);
  });

  it('adds new rows in their place, and replaces known ones', () => {
    list.apply([updated(row('d', 25)), updated(row('b', 20, 2))], false);
    expect(shown()).toEqual(['c1', 'd1', 'b2', 'a1']);
  });

  it('keeps the state that is newer, whatever comes last', () => {
    list.apply([updated(row('b', 20, 3)), updated(row('b', 20, 2))], false);
    list.addPage([row('b', 20, 1)], true, false);
    expect(shown()).toEqual(['c1', 'b3', 'a1']);
  });

  it('takes a later state with the same revision, as a failover of the database can leave it', () => {
    list.apply([updated({ ...row('b', 20), updatedAt: time(7) })], false);
    expect(entries()[1]?.row.updatedAt).toBe(time(7));
  });

  it('leaves rows that belong behind the last one to their page', () => {
    list.apply([updated(row('z', 5))], false);
    expect(shown()).toEqual(['c1', 'b1', 'a1']);
    list.addPage([row('z', 5)], false, false);
    list.apply([updated(row('y', 4))], false);
    expect(shown()).toEqual(['c1', 'b1', 'a1', 'z1', 'y1']);
  });

  it('leaves out rows that the order does not have', () => {
    list.apply([updated(row('z', 0))], false);
    expect(shown()).toEqual(['c1', 'b1', 'a1']);
  });

  it('holds new rows back while somebody reads, and marks those that leave', () => {
    list.apply([updated(row('d', 40)), removed('LEFT', 'b'), removed('DELETED', 'c')], true);
    expect(shown()).toEqual(['c1deleted', 'b1left', 'a1']);
    expect(list.contents().held).toBe(1);
    list.release();
    expect(list.sweep(0)).toBe(true);
    expect(list.sweep()).toBe(false);
    expect(shown()).toEqual(['d1', 'a1']);
    expect(list.contents().held).toBe(0);
  });

  it('takes a row back that matches again, and a held one away that has left', () => {
    list.apply(
      [removed('LEFT', 'b'), updated(row('b', 20, 2)), updated(row('d', 40)), removed('LEFT', 'd')],
      true,
    );
    expect(shown()).toEqual(['c1', 'b2', 'a1']);
    expect(list.contents().held).toBe(0);
  });

  it('never shows a deleted row again', () => {
    list.apply([removed('DELETED', 'b'), updated(row('b', 20, 2))], true);
    expect(shown()).toEqual(['c1', 'b1deleted', 'a1']);
  });

  it('applies what happened while a page was on its way', () => {
    list.beginLoad();
    list.apply([removed('LEFT', 'z'), updated(row('y', 4, 2))], false);
    list.addPage([row('z', 5), row('y', 4), row('x', 3)], true, false);
    expect(shown()).toEqual(['c1', 'b1', 'a1', 'z1left', 'y2', 'x1']);
  });

  it('holds no more than a thousand rows, and says that there are more', () => {
    list.apply(
      Array.from({ length: 1_001 }, (_, at) => updated(row(`n${at}`, 100 + at))),
      true,
    );
    expect(list.contents()).toMatchObject({ held: 1_000, isOverfull: true });
  });

  it('forgets the end of a list that has grown very long', () => {
    list.addPage([], false, false);
    list.apply(
      Array.from({ length: 20_001 }, (_, at) => updated(row(`n${at}`, 100 + at))),
      false,
    );
    expect(list.contents().entries).toHaveLength(1_000);
    expect(list.contents().hasMore).toBe(true);
    expect(entries()[0]?.row.id).toBe('n20000');
  });

  it('is the same object until it changes', () => {
    const before = list.contents();
    expect(list.contents()).toBe(before);
    list.apply([updated(row('d', 40))], false);
    expect(list.contents()).not.toBe(before);
  });

  it('marks a row that loses its place in the order, as a failover of the database can leave it', () => {
    list.apply([updated(row('b', 0, 2))], true);
    expect(shown()).toEqual(['c1', 'b1left', 'a1']);
  });

  it('knows the index of each row', () => {
    list.apply([updated(row('d', 25))], false);
    expect(['c', 'd', 'b', 'a', 'z'].map((id) => list.contents().entries.indexOf(id))).toEqual([
      0, 1, 2, 3, -1,
    ]);
  });
});

describe('the work of a live list with 10,000 rows', () => {
  const SCREEN = 40;
  /** Comparing two rows takes about as many steps as halving the list until one row is left. */
  const SEARCH = 3 * Math.ceil(Math.log2(10_000));
  let work = 0;

  /** Returns a row that counts how often it is looked at. */
  function counted(id: string, at: number, revision = 1): Row {
    const fields = row(id, at, revision);
    return new Proxy(fields, {
      get: (target, key) => {
        work += 1;
        return target[key as keyof Row];
      },
    });
  }

  function filled(length: number): LiveList<Row> {
    const list = new LiveList<Row>({ compare: (one, other) => other.at - one.at, has: ({ at }) => at > 0 });
    list.beginLoad();
    list.addPage(
      Array.from({ length }, (_, at) => counted(`t${at}`, at + 1)),
      true,
      false,
    );
    return list;
  }

  /** Returns the work of applying changes, and of drawing a screen of rows. */
  function workOf(list: LiveList<Row>, changes: readonly Change<Row>[]): number {
    work = 0;
    list.apply(changes, false);
    const { entries } = list.contents();
    entries.slice(5_000, 5_000 + SCREEN).forEach(({ row: { id } }) => id);
    return work;
  }

  const change = (id: string, at: number, revision: number): Change<Row> => ({
    kind: 'UPDATED',
    taskId: id,
    at: time(revision),
    task: counted(id, at, revision),
  });

  it('is that of the changes and of the rows on the screen', () => {
    const list = filled(10_000);
    const changes = Array.from({ length: 20 }, (_, at) => change(`t${at * 450}`, at * 450 + 1, 2));
    expect(workOf(list, changes)).toBeLessThan(20 * 4 * SEARCH + SCREEN);
  });

  it('is no more for new rows, and for rows that leave and are removed', () => {
    const list = filled(10_000);
    const added = Array.from({ length: 20 }, (_, at) => change(`n${at}`, 20_000 + at, 1));
    expect(workOf(list, added)).toBeLessThan(20 * 4 * SEARCH + SCREEN);
    const left = Array.from({ length: 20 }, (_, at) => removed('LEFT', `t${at * 450}`));
    expect(workOf(list, left)).toBeLessThan(20 * 4 * SEARCH + SCREEN);
    work = 0;
    list.sweep();
    expect(work).toBeLessThan(20 * 2 * SEARCH);
    expect(list.contents().entries).toHaveLength(10_000);
  });

  it('hardly grows with the list', () => {
    const changes = (): Change<Row>[] => Array.from({ length: 20 }, (_, at) => change(`t${at}`, at + 1, 2));
    const small = workOf(filled(1_000), changes());
    expect(workOf(filled(10_000), changes())).toBeLessThan(2 * small + SCREEN);
  });

  it('is that of its rows for a page', () => {
    const list = filled(10_000);
    const page = Array.from({ length: 100 }, (_, at) => counted(`p${at}`, -at, 1));
    work = 0;
    list.addPage(page, true, false);
    expect(work).toBeLessThan(100 * 4 * SEARCH);
  });
});
