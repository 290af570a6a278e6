import { describe, expect, it } from 'vitest';
import { duration, relativeTime, secondsBetween } from './times';

describe('durations', () => {
  it.each([
    [0.34, '340 ms'],
    [2.25, '2.3 s'],
    [59.9, '59 s'],
    [60, '1 min'],
    [200, '3 min 20 s'],
    [7_260, '2 h 1 min'],
    [187_200, '2 d 4 h'],
    [-5, '0 ms'],
  ])('%f s reads as %s', (seconds, text) => {
    expect(duration(seconds)).toBe(text);
  });
});

describe('relative times', () => {
  const now = Date.parse('2030-01-01T00:01:00Z');

  it.each([
    ['2030-01-01T00:00:30Z', '30 s ago'],
    ['2030-01-01T00:01:00.400Z', 'now'],
    ['2030-01-01T01:06:00Z', 'in 1 h'],
    ['2029-12-30T00:00:00Z', '2 d ago'],
  ])('%s reads as %s', (at, text) => {
    expect(relativeTime(at, now)).toBe(text);
  });

  it('is never negative between the clocks of two machines', () => {
    expect(secondsBetween('2030-01-01T00:00:01Z', '2030-01-01T00:00:00Z')).toBe(0);
  });
});
