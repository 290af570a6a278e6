import { describe, expect, it } from 'vitest';
import { type Bucket, columnsOf, percentilesText, totalsOf } from './stats';
import { WINDOWS, windowIn } from './windows';

const { window } = windowIn(new URLSearchParams({ window: '15m' }));
const first = Date.parse('2030-01-01T00:00:00Z') / 1_000;

const bucket = (at: string, failed: number): Bucket => ({
  at,
  succeeded: 3,
  failed,
  revoked: 1,
  queueSeconds: { p50: 0.01, p95: 0.5, p99: 2 },
  runSeconds: { p50: null, p95: null, p99: null },
});

describe('the columns of the chart', () => {
  it('are there for each step of time, whatever the API leaves out', () => {
    const columns = columnsOf([bucket('2030-01-01T00:03:00+00:00', 2)], first, window);
    expect(columns.map(({ failed }) => failed)).toEqual([0, 0, 0, 2, ...(Array(11).fill(0) as number[])]);
    expect(columns[0]?.queue.p50).toBeNull();
    expect(columns[3]?.queue.p95).toBe(0.5);
  });

  it('are few enough to be seen', () => {
    for (const each of WINDOWS) expect(columnsOf([], first, each).length).toBeLessThanOrEqual(90);
  });

  it('add up', () => {
    const buckets = [bucket('2030-01-01T00:03:00Z', 2), bucket('2030-01-01T00:05:00Z', 5)];
    expect(totalsOf(columnsOf(buckets, first, window))).toEqual({ succeeded: 6, failed: 7, revoked: 2 });
  });
});

it('percentiles that were not measured are no zeros', () => {
  expect(percentilesText({ p50: 0.01, p95: 61, p99: null })).toBe('p50 10 ms · p95 1 min 1 s · p99 –');
});
