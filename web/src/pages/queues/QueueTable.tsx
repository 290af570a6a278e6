import { Anchor, Table, Text } from '@mantine/core';
import { Link } from 'react-router';
import { Age } from '@/ui/Age';
import { queuePath, tasksPath } from '@/ui/paths';
import { useSeesOwnOnly } from '@/ui/mine';
import { countText, tasksText } from '@/ui/numbers';
import type { Queue } from './operations';

/** Queues with what waits and what runs; the age of the oldest task tells how far behind a queue is. */
export function QueueTable({ queues }: { queues: readonly Queue[] }) {
  const own = useSeesOwnOnly();
  return (
    <Table aria-label="Queues" fz="sm">
      <Table.Thead>
        <Table.Tr>
          <Table.Th>Queue</Table.Th>
          <Table.Th ta="end">Waiting</Table.Th>
          <Table.Th ta="end">Oldest</Table.Th>
          <Table.Th ta="end">{own ? 'Running (yours)' : 'Running'}</Table.Th>
        </Table.Tr>
      </Table.Thead>
      <Table.Tbody>
        {queues.map((queue) => (
          <Row key={queue.name} queue={queue} />
        ))}
      </Table.Tbody>
    </Table>
  );
}

function Row({ queue: { name, depth, oldestQueuedAt, running } }: { queue: Queue }) {
  return (
    <Table.Tr>
      <Table.Td style={{ overflowWrap: 'anywhere' }}>
        <Anchor component={Link} to={queuePath(name)} inherit>
          {name}
        </Anchor>
      </Table.Td>
      <Table.Td ta="end">
        <Figure count={depth} status="QUEUED" queue={name} words="waiting" />
      </Table.Td>
      <Table.Td ta="end" style={{ whiteSpace: 'nowrap' }}>
        {oldestQueuedAt === null ? '–' : <Age since={oldestQueuedAt} />}
      </Table.Td>
      <Table.Td ta="end">
        <Figure count={running} status="STARTED" queue={name} words="running" />
      </Table.Td>
    </Table.Tr>
  );
}

interface FigureProps {
  count: number;
  status: string;
  queue: string;
  words: string;
}

function Figure({ count, status, queue, words }: FigureProps) {
  if (count === 0) {
    return (
      <Text span inherit c="dimmed">
        0
      </Text>
    );
  }
  return (
    <Anchor
      component={Link}
      to={tasksPath({ status, queue })}
      inherit
      aria-label={`${tasksText(count)} ${words} in ${queue}`}
    >
      {countText(count)}
    </Anchor>
  );
}
