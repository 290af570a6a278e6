import { describe, expect, it } from 'vitest';
import { pathsOf, type Row, rowMaker, valueAt } from './list/rows';
import { runOf, waitOf } from './table/durations';
import { readUrl, writeColumns } from './useTasksUrl';
import { deleteView, renameView, savedViews, saveView } from './views';
import type { ListedTaskFragment } from '@/gql/graphql';
import { parse } from 'lossless-json';

const task: ListedTaskFragment = {
  id: 'a',
  name: 'send_mail',
  status: 'STARTED',
  isFinal: false,
  revision: 2,
  queue: 'celery',
  priority: 0,
  worker: 'w',
  attempts: 1,
  createdAt: '2030-01-01T00:00:10Z',
  scheduledFor: null,
  startedAt: '2030-01-01T00:00:05Z',
  finishedAt: null,
  updatedAt: '2030-01-01T00:00:10Z',
  cancelRequestedAt: null,
  progress: { percent: 50, message: 'half', current: 1, total: 2, data: '{"rows": 9007199254740993}' },
  error: null,
  metadata: '{"customer": {"tier": "gold"}, "big": 9007199254740993, "a.b": [{"x": 1}, {"x": 2}]}',
  kwargs: '{"to": "<b>"}',
};

describe('the address of the page', () => {
  it('names search, columns and order', () => {
    const columns = ['name', 'metadata.a,b%', 'kwargs.x'];
    const params = new URLSearchParams({ q: 'foo:1', cols: writeColumns(columns), order: 'oldest' });
    expect(readUrl(new URLSearchParams(params.toString()))).toEqual({
      q: 'foo:1',
      columns,
      order: 'oldest',
      problems: [],
    });
  });

  it('may have what the page does not know: it says so, and shows the rest', () => {
    const url = readUrl(new URLSearchParams('cols=name,colour&order=constructor'));
    expect(url).toMatchObject({ columns: ['name'], order: 'newest' });
    expect(url.problems).toHaveLength(2);
  });
});

describe('the rows of the list', () => {
  it('keep only the chosen parts of what can be large, with exact numbers', () => {
    const row = rowMaker('newest', [
      'metadata.customer.tier',
      'metadata.big',
      'metadata.none',
      'kwargs.to',
      'progress.rows',
      'progress.current',
    ])(task);
    expect(row.extras).toEqual({
      'metadata.customer.tier': 'gold',
      'metadata.big': '9007199254740993',
      'metadata.none': '',
      'kwargs.to': '<b>',
      'progress.rows': '9007199254740993',
      'progress.current': '1',
    });
    expect(row).not.toHaveProperty('metadata');
    expect(row).not.toHaveProperty('kwargs');
  });

  it('have no place in a list by end before their end', () => {
    expect(rowMaker('finished', [])(task).position).toBeNaN();
  });

  it('find values by the paths of the API', () => {
    const metadata = parse(String(task.metadata));
    expect(valueAt(metadata, 'a\\.b.x')?.toString()).toBe('1,2');
    expect(valueAt(metadata, 'a\\.b.1.x')?.toString()).toBe('2');
    expect(valueAt(metadata, 'customer.tier.length')).toBeUndefined();
    expect(valueAt(metadata, 'constructor')).toBeUndefined();
    expect(pathsOf(metadata)).toEqual(['customer.tier', 'big', 'a\\.b.x']);
  });
});

describe('waiting and running', () => {
  const row = (change: Partial<ListedTaskFragment>): Row => rowMaker('newest', [])({ ...task, ...change });

  it('wait from the time from which they could start', () => {
    expect(waitOf(row({}))).toEqual({ from: task.createdAt, to: task.startedAt });
    const scheduledFor = '2030-01-01T00:01:00Z';
    expect(waitOf(row({ scheduledFor, startedAt: null, status: 'QUEUED' }))).toEqual({
      from: scheduledFor,
      to: null,
    });
    expect(waitOf(row({ scheduledFor, startedAt: null, status: 'SCHEDULED' }))).toBeNull();
  });

  it('run while they are STARTED, and not while they wait for another attempt', () => {
    expect(runOf(row({}))).toEqual({ from: task.startedAt, to: null });
    expect(runOf(row({ status: 'RETRY' }))).toBeNull();
    expect(runOf(row({ startedAt: null }))).toBeNull();
  });
});

describe('saved views', () => {
  it('are kept by name, and can be replaced and deleted', () => {
    saveView({ name: 'b', search: '?q=1' });
    saveView({ name: 'a', search: '?q=2' });
    saveView({ name: 'b', search: '?q=3' });
    expect(savedViews()).toEqual([
      { name: 'a', search: '?q=2' },
      { name: 'b', search: '?q=3' },
    ]);
    renameView('b', 'c');
    expect(savedViews()).toContainEqual({ name: 'c', search: '?q=3' });
    renameView('c', 'b');
    deleteView('a');
    expect(savedViews().map(({ name }) => name)).toEqual(['b']);
  });

  it('are none where the storage holds something else', () => {
    localStorage.setItem('gql-api.views', '[1, {"name": 2}, {"name": "c", "search": ""}]');
    expect(savedViews()).toEqual([{ name: 'c', search: '' }]);
    localStorage.setItem('gql-api.views', '{');
    expect(savedViews()).toEqual([]);
  });
});
