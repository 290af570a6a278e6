import { afterEach, describe, expect, it, vi } from 'vitest';
import { noteDate, serverNow } from './serverClock';

describe('the clock of the server', () => {
  afterEach(() => {
    vi.useRealTimers();
    noteDate(new Date().toUTCString(), Date.now(), Date.now());
  });

  it.each([
    ['an hour behind', 3_600_000],
    ['an hour ahead', -3_600_000],
  ])('is known to a browser that is %s', (_, differenceMs) => {
    vi.useFakeTimers({ now: Date.parse('2030-01-01T12:00:00Z') });
    noteDate(new Date(Date.now() + differenceMs).toUTCString(), Date.now(), Date.now());
    expect(Math.abs(serverNow() - (Date.now() + differenceMs))).toBeLessThan(1_000);
  });

  it('is that of the browser when both agree to a few seconds', () => {
    vi.useFakeTimers({ now: Date.parse('2030-01-01T12:00:00Z') });
    noteDate('Tue, 01 Jan 2030 12:00:01 GMT', Date.now() - 200, Date.now());
    expect(serverNow()).toBe(Date.now());
  });

  it.each([null, '', 'yesterday'])('does not change with the header %j', (header) => {
    vi.useFakeTimers({ now: Date.parse('2030-01-01T12:00:00Z') });
    noteDate('Tue, 01 Jan 2030 13:00:00 GMT', Date.now(), Date.now());
    const before = serverNow();
    noteDate(header, Date.now(), Date.now());
    expect(serverNow()).toBe(before);
  });
});
