import { Tooltip } from '@mantine/core';
import { useNow } from './clock';
import { exactTime, relativeTime } from './times';

/** A time relative to now; the exact time with its zone is in the tooltip, for the keyboard too. */
export function Time({ at }: { at: string }) {
  const now = useNow();
  return (
    <Tooltip label={exactTime(at)} events={{ hover: true, focus: true, touch: true }}>
      <time dateTime={at}>{relativeTime(at, now)}</time>
    </Tooltip>
  );
}
