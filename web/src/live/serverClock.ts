/**
 * The clock of the server, from the Date headers of its answers. The clock of a browser can be wrong by hours, and an age
 * or a window of time that is computed from it would be wrong by the same hours.
 */
import { useNow } from '@/ui/clock';

/** The header has whole seconds, and answers take time: a smaller difference is none. */
const TOLERANCE_MS = 3_000;

let offset = 0;

/** Notes the time that an answer has in its Date header, between when it was asked for and when it came. */
export function noteDate(header: string | null, askedAt: number, answeredAt: number): void {
  const at = header === null ? NaN : Date.parse(header);
  if (Number.isNaN(at)) return;
  const measured = at + 500 - (askedAt + answeredAt) / 2;
  offset = Math.abs(measured) < TOLERANCE_MS + (answeredAt - askedAt) / 2 ? 0 : measured;
}

/** Fetches, and notes the time of the server. */
export const fetchWithClock: typeof fetch = async (input, init) => {
  const askedAt = Date.now();
  const response = await fetch(input, init);
  noteDate(response.headers.get('date'), askedAt, Date.now());
  return response;
};

/** Returns the server's time in milliseconds of the epoch. */
export const serverNow = (): number => Date.now() + offset;

/** Returns the server's time in milliseconds of the epoch, each second anew. */
export const useServerNow = (): number => useNow() + offset;
