/** Workers and queues at a glance, for those who operate them. */
import { Anchor, SimpleGrid, Text } from '@mantine/core';
import { Link } from 'react-router';
import { useRefreshed } from '@/live/useRefreshed';
import { loadOperations, OPERATIONS_EVERY_MS, type Queue } from '@/pages/queues/operations';
import { QueueTable } from '@/pages/queues/QueueTable';
import { WorkerTable } from '@/pages/workers/WorkerTable';
import { Panel } from '@/ui/Panel';

const SHOWN = 8;

export function OperationPanels() {
  const { data, problem, refresh } = useRefreshed({
    key: 'operations',
    load: loadOperations,
    everyMs: OPERATIONS_EVERY_MS,
  });
  const state = { isLoading: data === null, problem, onRetry: refresh };
  return (
    <SimpleGrid cols={{ base: 1, md: 2 }}>
      <Panel title="Queues" {...state} actions={<AllLink to="/queues" label="All queues" />}>
        {data && <QueueTable queues={busiest(data.queues)} />}
      </Panel>
      <Panel title="Workers" {...state} actions={<AllLink to="/workers" label="All workers" />}>
        {data && data.workers.length > 0 && <WorkerTable workers={data.workers.slice(0, SHOWN)} />}
        {data?.workers.length === 0 && (
          <Text size="sm">No worker is alive: tasks wait until one starts.</Text>
        )}
      </Panel>
    </SimpleGrid>
  );
}

function AllLink({ to, label }: { to: string; label: string }) {
  return (
    <Anchor component={Link} to={to} size="sm">
      {label}
    </Anchor>
  );
}

/** Returns the queues in which most tasks wait and run. */
const busiest = (queues: readonly Queue[]): Queue[] =>
  [...queues]
    .sort((a, b) => b.depth - a.depth || b.running - a.running || a.name.localeCompare(b.name))
    .slice(0, SHOWN);
