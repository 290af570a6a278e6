/** Times as a person enters them: a date and a time of day in a time zone, which need not be the browser's. */

/** A time of day as an <input type="datetime-local"> has it, like 2030-01-01T06:00:00, and its zone. */
export interface ZonedTime {
  local: string;
  zone: string;
}

export const browserZone = (): string => Intl.DateTimeFormat().resolvedOptions().timeZone;

export const zones = (): string[] => [
  'UTC',
  ...Intl.supportedValuesOf('timeZone').filter((zone) => zone !== 'UTC'),
];

const MINUTE_MS = 60_000;
const DAY_MS = 24 * 60 * MINUTE_MS;

/** Returns the minutes by which the clocks of a zone are ahead of UTC at a time. */
function offsetAt(zone: string, at: number): number {
  const parts = new Intl.DateTimeFormat('en-US', {
    timeZone: zone,
    hourCycle: 'h23',
    year: 'numeric',
    month: '2-digit',
    day: '2-digit',
    hour: '2-digit',
    minute: '2-digit',
    second: '2-digit',
  }).formatToParts(at);
  const part = (type: string): number => Number(parts.find((each) => each.type === type)?.value);
  const shown = Date.UTC(
    part('year'),
    part('month') - 1,
    part('day'),
    part('hour'),
    part('minute'),
    part('second'),
  );
  return Math.round((shown - at) / MINUTE_MS);
}

/**
 * Returns a time as RFC 3339 with the offset of its zone, or null for what is no time. An hour that the clocks skip
 * becomes the hour after it; of an hour that occurs twice, the first is meant.
 */
export function rfc3339({ local, zone }: ZonedTime): string | null {
  const match = /^(\d{4}-\d{2}-\d{2}T\d{2}:\d{2})(:\d{2}(?:\.\d{1,3})?)?$/.exec(local);
  const shown = match ? Date.parse(`${match[1] ?? ''}${match[2] ?? ':00'}Z`) : NaN;
  if (Number.isNaN(shown)) return null;
  const candidates = [offsetAt(zone, shown - DAY_MS), offsetAt(zone, shown + DAY_MS)];
  const offset =
    candidates.find((each) => offsetAt(zone, shown - each * MINUTE_MS) === each) ?? candidates[0] ?? 0;
  const at = shown - offset * MINUTE_MS;
  return withOffset(at, offsetAt(zone, at));
}

function withOffset(at: number, offset: number): string {
  const local = new Date(at + offset * MINUTE_MS).toISOString().replace(/\.000Z$|Z$/, '');
  if (offset === 0) return `${local}Z`;
  const two = (value: number): string => String(value).padStart(2, '0');
  return `${local}${offset < 0 ? '-' : '+'}${two(Math.floor(Math.abs(offset) / 60))}:${two(Math.abs(offset) % 60)}`;
}

/** Returns the time of day in a zone, to the second. */
export function zoned(at: number, zone: string): ZonedTime {
  const local = new Date(at + offsetAt(zone, at) * MINUTE_MS).toISOString().slice(0, 19);
  return { local, zone };
}
