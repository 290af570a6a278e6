/** The windows of time of the overview. The one that is shown is in the address. */
import { useSearchParams } from 'react-router';
import { serverNow } from '@/live/serverClock';

export interface TimeWindow {
  /** Its name in the address. */
  id: string;
  label: string;
  /** How a sentence calls it. */
  words: string;
  seconds: number;
  /** The width of a column of the chart. */
  bucketSeconds: number;
}

const HOUR = 3_600;

const FALLBACK: TimeWindow = {
  id: '1h',
  label: '1 h',
  words: 'last hour',
  seconds: HOUR,
  bucketSeconds: 60,
};

export const WINDOWS: readonly TimeWindow[] = [
  { id: '15m', label: '15 min', words: 'last 15 minutes', seconds: HOUR / 4, bucketSeconds: 60 },
  FALLBACK,
  { id: '6h', label: '6 h', words: 'last 6 hours', seconds: 6 * HOUR, bucketSeconds: 300 },
  { id: '24h', label: '24 h', words: 'last 24 hours', seconds: 24 * HOUR, bucketSeconds: 1_800 },
  { id: '7d', label: '7 d', words: 'last 7 days', seconds: 168 * HOUR, bucketSeconds: 2 * HOUR },
];

const NAME = 'window';

export interface ChosenWindow {
  window: TimeWindow;
  /** What the address asked for, if there is no such window. */
  unknown: string | null;
  choose: (id: string) => void;
}

/** Returns the window that the parameters of an address name, and the name if there is no such window. */
export function windowIn(parameters: URLSearchParams): Pick<ChosenWindow, 'window' | 'unknown'> {
  const id = parameters.get(NAME) ?? FALLBACK.id;
  const window = WINDOWS.find((each) => each.id === id);
  return window ? { window, unknown: null } : { window: FALLBACK, unknown: id };
}

export function useChosenWindow(): ChosenWindow {
  const [parameters, setParameters] = useSearchParams();
  const choose = (id: string): void => {
    setParameters((before) => {
      const next = new URLSearchParams(before);
      next.set(NAME, id);
      return next;
    });
  };
  return { ...windowIn(parameters), choose };
}

/** Returns the time at which a window begins now, by the clock of the server. */
export const beginOf = ({ seconds }: TimeWindow, now = serverNow()): string =>
  new Date(now - seconds * 1_000).toISOString();

/** Returns the beginning of the first column of a window's chart; the last column has the present time. */
export function firstColumnOf({ seconds, bucketSeconds }: TimeWindow, now = serverNow()): number {
  const last = Math.floor(now / 1_000 / bucketSeconds) * bucketSeconds;
  return last - seconds + bucketSeconds;
}
