/** What people have to know of the list: how many tasks it has, and whether it is live, paused or stale. */
import { ActionIcon, Badge, Button, Group, Text, Tooltip } from '@mantine/core';
import { IconPlayerPause, IconPlayerPlay, IconRefresh } from '@tabler/icons-react';
import { useConnection } from '@/live/connection';
import { setPaused } from '@/live/pause';
import { useNow } from '@/ui/clock';
import { tasksText } from '@/ui/numbers';
import { duration } from '@/ui/times';
import type { TaskList } from './list/TaskList';
import type { TaskCount } from './list/useTaskCount';
import { useListState } from './list/useTaskList';

export function Count({ count, at, isUncountable, recount }: TaskCount) {
  const now = useNow();
  if (isUncountable) {
    return (
      <Text size="sm" c="dimmed">
        Too many to count in time
      </Text>
    );
  }
  if (count === null) return null;
  const age = Math.floor(Math.max(0, now - at) / 5_000) * 5;
  return (
    <Tooltip label={`Counted ${age < 5 ? 'just now' : `${duration(age)} ago`}. Click to count again.`}>
      <Button size="compact-sm" variant="subtle" color="gray" onClick={recount}>
        {`${age < 5 ? '' : 'about '}${tasksText(count)}`}
      </Button>
    </Tooltip>
  );
}

interface Props {
  list: TaskList;
  isPaused: boolean;
  onRefresh: () => void;
}

export function LiveState({ list, isPaused, onRefresh }: Props) {
  const isLoading = useListState(list, (state) => state.isLoading);
  const label = isPaused ? 'Continue live updates' : 'Pause live updates';
  return (
    <Group gap={6} wrap="nowrap">
      <Freshness list={list} isPaused={isPaused} />
      <Tooltip label={`${label} (p)`}>
        <ActionIcon
          variant={isPaused ? 'filled' : 'default'}
          color="orange"
          aria-label={label}
          aria-pressed={isPaused}
          onClick={() => setPaused(!isPaused)}
        >
          {isPaused ? <IconPlayerPlay size={16} /> : <IconPlayerPause size={16} />}
        </ActionIcon>
      </Tooltip>
      <Tooltip label="Load the list anew">
        <ActionIcon variant="default" aria-label="Load the list anew" onClick={onRefresh} loading={isLoading}>
          <IconRefresh size={16} />
        </ActionIcon>
      </Tooltip>
    </Group>
  );
}

function Freshness({ list, isPaused }: Omit<Props, 'onRefresh'>) {
  const refusal = useListState(list, (state) => state.refusal);
  const now = useNow();
  const connection = useConnection();
  const isStale = connection.state === 'lost' || refusal !== null;
  if (!isPaused && !isStale) return null;
  const age =
    list.asOf === 0 ? '' : ` · as of ${duration(Math.floor(Math.max(0, now - list.asOf) / 1_000))} ago`;
  const text = isPaused ? 'Paused' : 'Not live';
  return (
    <Tooltip label={refusal ?? (isPaused ? 'Changes wait until you continue.' : 'The page connects again.')}>
      <Badge color={isPaused ? 'orange' : 'red'} variant="light" role="status" tt="none">
        {text}
        {age}
      </Badge>
    </Tooltip>
  );
}
