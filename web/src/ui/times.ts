/** Times as people read them. All of the API's times are texts in UTC; people see them in the zone of their browser. */

const EXACT = new Intl.DateTimeFormat(undefined, {
  year: 'numeric',
  month: 'short',
  day: 'numeric',
  hour: '2-digit',
  minute: '2-digit',
  second: '2-digit',
  fractionalSecondDigits: 3,
  timeZoneName: 'longOffset',
});

const STEPS: readonly [limit: number, seconds: number, unit: string][] = [
  [60, 1, 's'],
  [3_600, 60, 'min'],
  [86_400, 3_600, 'h'],
  [Infinity, 86_400, 'd'],
];

/** Returns a time with its date, milliseconds and zone. */
export const exactTime = (at: string): string => EXACT.format(new Date(at));

/** Returns a duration in seconds as "340 ms", "12.5 s", "3 min 20 s" or "2 d 4 h"; a negative one, of two clocks, as 0. */
export function duration(seconds: number): string {
  const positive = Math.max(0, seconds);
  if (positive < 1) return `${Math.round(positive * 1_000)} ms`;
  if (positive < 60) return `${positive < 10 ? positive.toFixed(1) : Math.floor(positive)} s`;
  const index = STEPS.findIndex(([limit]) => positive < limit);
  const [, size, unit] = STEPS[index] ?? [0, 1, 's'];
  const [, smaller, smallerUnit] = STEPS[index - 1] ?? [0, 1, 's'];
  const whole = Math.floor(positive / size);
  const rest = Math.floor((positive - whole * size) / smaller);
  return rest > 0 ? `${whole} ${unit} ${rest} ${smallerUnit}` : `${whole} ${unit}`;
}

/** Returns how long ago a time was, or in how long it will be. */
export function relativeTime(at: string, now: number): string {
  const seconds = (now - Date.parse(at)) / 1_000;
  if (Math.abs(seconds) < 1) return 'now';
  return seconds > 0 ? `${coarse(seconds)} ago` : `in ${coarse(-seconds)}`;
}

function coarse(seconds: number): string {
  const [, size, unit] = STEPS.find(([limit]) => seconds < limit) ?? [0, 1, 's'];
  return `${Math.floor(seconds / size)} ${unit}`;
}

/** Returns the seconds between two times; 0 if the clocks of two machines have them in the wrong order. */
export const secondsBetween = (from: string, to: string): number =>
  Math.max(0, (Date.parse(to) - Date.parse(from)) / 1_000);
