import { Badge, Tooltip } from '@mantine/core';
import { useConnection } from '@/live/connection';
import { useNow } from '@/ui/clock';
import { duration } from '@/ui/times';

const LOOKS = {
  connecting: { color: 'gray', text: 'Connecting', hint: 'The page connects to the server.' },
  live: { color: 'green', text: 'Live', hint: 'Changes appear as they happen.' },
  lost: {
    color: 'red',
    text: 'Reconnecting',
    hint: 'The connection is lost, and what you see may be old. The page connects again by itself, and catches up.',
  },
};

/** Whether what the page shows is live, and for how long it has not been; nothing on a page that watches nothing. */
export function ConnectionBadge() {
  const { state, since } = useConnection();
  if (state === 'idle') return null;
  const { color, text, hint } = LOOKS[state];
  return (
    <Tooltip label={hint} multiline w={260}>
      <Badge color={color} variant="light" role="status" data-state={state}>
        {text}
        {state === 'lost' && <Age since={since} />}
      </Badge>
    </Tooltip>
  );
}

function Age({ since }: { since: number }) {
  return <> · {duration((useNow() - since) / 1_000)}</>;
}
