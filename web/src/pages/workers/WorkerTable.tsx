import { Anchor, Badge, Table, Text } from '@mantine/core';
import { Link } from 'react-router';
import type { RunningTask, Worker } from '@/pages/queues/operations';
import { Age } from '@/ui/Age';
import { workerPath } from '@/ui/paths';
import { concern, runningOn } from './workers';

interface Props {
  workers: readonly Worker[];
  /** What runs; with it, the table says what each worker runs. */
  running?: readonly RunningTask[];
}

export function WorkerTable({ workers, running }: Props) {
  return (
    <Table aria-label="Workers" fz="sm">
      <Table.Thead>
        <Table.Tr>
          <Table.Th>Worker</Table.Th>
          <Table.Th ta="end">Running</Table.Th>
          <Table.Th ta="end">Heartbeat</Table.Th>
          {running && <Table.Th visibleFrom="sm">Pool</Table.Th>}
          {running && <Table.Th visibleFrom="sm">Runs now</Table.Th>}
        </Table.Tr>
      </Table.Thead>
      <Table.Tbody>
        {workers.map((worker, index) => (
          // Several workers may have one name.
          <Row key={`${worker.hostname} ${index}`} worker={worker} running={running} />
        ))}
      </Table.Tbody>
    </Table>
  );
}

function Row({ worker, running }: { worker: Worker; running: readonly RunningTask[] | undefined }) {
  const { hostname, pool, concurrency, active, lastHeartbeatAt } = worker;
  return (
    <Table.Tr>
      <Table.Td style={{ overflowWrap: 'anywhere' }}>
        <Anchor component={Link} to={workerPath(hostname)} inherit>
          {hostname}
        </Anchor>{' '}
        <Concern worker={worker} />
      </Table.Td>
      <Table.Td ta="end" style={{ whiteSpace: 'nowrap' }}>
        {active} of {concurrency}
      </Table.Td>
      <Table.Td ta="end" style={{ whiteSpace: 'nowrap' }}>
        <Age since={lastHeartbeatAt} />
      </Table.Td>
      {running && <Table.Td visibleFrom="sm">{pool}</Table.Td>}
      {running && (
        <Table.Td visibleFrom="sm" style={{ overflowWrap: 'anywhere' }}>
          <RunsNow tasks={runningOn(running, hostname)} />
        </Table.Td>
      )}
    </Table.Tr>
  );
}

/** Marks a worker that somebody should look at. */
function Concern({ worker }: { worker: Worker }) {
  const text = concern(worker);
  return text === null ? null : (
    <Badge color="orange" radius="sm" size="sm">
      {text}
    </Badge>
  );
}

const SHOWN = 3;

function RunsNow({ tasks }: { tasks: readonly RunningTask[] }) {
  if (tasks.length === 0) {
    return (
      <Text span inherit c="dimmed">
        –
      </Text>
    );
  }
  const more = tasks.length - SHOWN;
  const names = tasks.slice(0, SHOWN).map(({ name }) => name);
  return <>{[...names, ...(more > 0 ? [`and ${more} more`] : [])].join(', ')}</>;
}
