import { beforeEach, describe, expect, it } from 'vitest';
import { type Change, LiveList } from './LiveList';

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
  const shown = (): string[] =>
    list.contents().entries.map(({ row, gone }) => `${row.id}${row.revision}${gone ?? ''}`);

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
    expect(list.contents().entries[1]?.row.updatedAt).toBe(time(7));
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
    expect(list.contents().entries[0]?.row.id).toBe('n20000');
  });

  it('is the same object until it changes', () => {
    const before = list.contents();
    expect(list.contents()).toBe(before);
    list.apply([updated(row('d', 40))], false);
    expect(list.contents()).not.toBe(before);
  });
});
