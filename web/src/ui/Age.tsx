import { Tooltip } from '@mantine/core';
import { useServerNow } from '@/live/serverClock';
import { duration, exactTime } from './times';

/** How long ago a time of the server was, by the clock of the server; never negative. */
export function Age({ since }: { since: string }) {
  const now = useServerNow();
  return (
    <Tooltip label={exactTime(since)} events={{ hover: true, focus: true, touch: true }}>
      <time dateTime={since}>{ageText(since, now)}</time>
    </Tooltip>
  );
}

/** Returns an age in whole seconds, minutes, hours or days, as "12 s" or "2 h 5 min". */
function ageText(since: string, now: number): string {
  const seconds = Math.max(0, (now - Date.parse(since)) / 1_000);
  return seconds < 10 ? `${Math.floor(seconds)} s` : duration(seconds);
}
