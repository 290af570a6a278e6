import { Group, SimpleGrid, Stack, Text } from '@mantine/core';
import { Link } from 'react-router';
import type { TaskStatus } from '@/gql/graphql';
import type { Refreshed } from '@/live/useRefreshed';
import { Panel } from '@/ui/Panel';
import { FINISHED, STATUS_COLORS, UNFINISHED } from '@/ui/StatusBadge';
import { tasksPath } from '@/ui/paths';
import { countText } from '@/ui/numbers';
import type { Counts } from './counts';
import styles from './CountsPanel.module.css';
import type { TimeWindow } from './windows';

/** Counts by status; each leads to the list of these tasks. */
export function CountsPanel({
  counts: { data, problem, refresh },
  window,
}: {
  counts: Refreshed<Counts>;
  window: TimeWindow;
}) {
  return (
    <Panel title="Tasks by status" isLoading={data === null} problem={problem} onRetry={refresh}>
      {data && (
        <Group align="start" gap="lg">
          <Tiles caption="Now" statuses={UNFINISHED} counts={data} />
          <Tiles
            caption={`Ended in the ${window.words}`}
            statuses={FINISHED}
            counts={data}
            from={data.from}
          />
        </Group>
      )}
    </Panel>
  );
}

interface TilesProps {
  caption: string;
  statuses: readonly TaskStatus[];
  counts: Counts;
  from?: string;
}

function Tiles({ caption, statuses, counts, from }: TilesProps) {
  return (
    <Stack gap={6} flex={`${statuses.length} 1 ${statuses.length * 110}px`}>
      <Text size="xs" c="dimmed">
        {caption}
      </Text>
      <SimpleGrid cols={{ base: 2, xs: statuses.length }} spacing="xs">
        {statuses.map((status) => (
          <Tile key={status} status={status} count={counts.of[status] ?? 0} from={from} />
        ))}
      </SimpleGrid>
    </Stack>
  );
}

function Tile({ status, count, from }: { status: TaskStatus; count: number; from: string | undefined }) {
  return (
    <Link
      className={styles.tile}
      to={tasksPath({ status, finishedSince: from })}
      style={{ borderInlineStartColor: `var(--mantine-color-${STATUS_COLORS[status]}-filled)` }}
    >
      <span className={styles.count}>{countText(count)}</span> <span className={styles.status}>{status}</span>
    </Link>
  );
}
