import { describe, expect, it } from 'vitest';
import { beginOf, firstColumnOf, windowIn, WINDOWS } from './windows';

describe('the window of time', () => {
  it.each(WINDOWS)('$id is what the address says', (window) => {
    expect(windowIn(new URLSearchParams({ window: window.id }))).toEqual({ window, unknown: null });
  });

  it('is an hour by default', () => {
    expect(windowIn(new URLSearchParams()).window.id).toBe('1h');
  });

  it('names what it does not know, and is the default then', () => {
    const { window, unknown } = windowIn(new URLSearchParams({ window: '5y' }));
    expect([window.id, unknown]).toEqual(['1h', '5y']);
  });

  it.each(WINDOWS)('$id has whole columns, and the present time is in the last one', (window) => {
    const now = Date.parse('2030-01-01T12:34:56.789Z');
    const first = firstColumnOf(window, now);
    const columns = window.seconds / window.bucketSeconds;
    expect(Number.isInteger(columns) && first % window.bucketSeconds === 0).toBe(true);
    const last = first + (columns - 1) * window.bucketSeconds;
    expect(last * 1_000 <= now && now < (last + window.bucketSeconds) * 1_000).toBe(true);
  });

  it('begins as long ago as it is long', () => {
    expect(
      beginOf(windowIn(new URLSearchParams({ window: '15m' })).window, Date.parse('2030-01-01T12:00:00Z')),
    ).toBe('2030-01-01T11:45:00.000Z');
  });
});
