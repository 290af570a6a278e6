import { describe, expect, it } from 'vitest';
import { rfc3339, zoned } from './zonedTime';

describe('a time that a person enters', () => {
  it.each([
    ['2030-01-01T06:00', 'UTC', '2030-01-01T06:00:00Z'],
    ['2030-01-01T06:00:30', 'Europe/Berlin', '2030-01-01T06:00:30+01:00'],
    ['2030-07-01T06:00', 'Europe/Berlin', '2030-07-01T06:00:00+02:00'],
    ['2030-07-01T06:00', 'America/New_York', '2030-07-01T06:00:00-04:00'],
    ['2030-07-01T06:00', 'Asia/Kathmandu', '2030-07-01T06:00:00+05:45'],
    // Clocks skip from 02:00 to 03:00, and go back from 03:00 to 02:00.
    ['2030-03-31T02:30', 'Europe/Berlin', '2030-03-31T03:30:00+02:00'],
    ['2030-10-27T02:30', 'Europe/Berlin', '2030-10-27T02:30:00+02:00'],
    ['2030-10-27T03:30', 'Europe/Berlin', '2030-10-27T03:30:00+01:00'],
    ['2030-01-01T00:30', 'Asia/Tokyo', '2030-01-01T00:30:00+09:00'],
  ])('%s in %s is %s', (local, zone, expected) => {
    expect(rfc3339({ local, zone })).toBe(expected);
  });

  it('is null for what is no time', () => {
    expect(rfc3339({ local: '', zone: 'UTC' })).toBeNull();
    expect(rfc3339({ local: '2030-13-01T00:00', zone: 'UTC' })).toBeNull();
  });

  it('is shown in its zone', () => {
    expect(zoned(Date.parse('2030-07-01T04:00:00Z'), 'Europe/Berlin').local).toBe('2030-07-01T06:00:00');
  });
});
