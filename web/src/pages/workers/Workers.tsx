/** The workers that are alive, or the one that the address names. */
import { Stack, Text, Title } from '@mantine/core';
import { useSearchParams } from 'react-router';
import { useRefreshed } from '@/live/useRefreshed';
import { loadOperations, OPERATIONS_EVERY_MS } from '@/pages/queues/operations';
import { Panel } from '@/ui/Panel';
import { WorkerDetail } from './WorkerDetail';
import { WorkerTable } from './WorkerTable';

export default function Workers() {
  const [parameters] = useSearchParams();
  const name = parameters.get('name');
  const operations = useRefreshed({ key: 'operations', load: loadOperations, everyMs: OPERATIONS_EVERY_MS });
  const { data, problem, refresh } = operations;
  if (name !== null) return <WorkerDetail name={name} operations={operations} />;
  return (
    <Stack>
      <Title order={1} size="h3">
        Workers
      </Title>
      <Panel
        title="Workers that are alive"
        hint="A worker that misses three heartbeats is not listed."
        isLoading={data === null}
        problem={problem}
        onRetry={refresh}
      >
        {data && data.workers.length > 0 && <WorkerTable workers={data.workers} running={data.running} />}
        {data?.workers.length === 0 && <NoWorkers />}
      </Panel>
    </Stack>
  );
}

function NoWorkers() {
  return <Text size="sm">No worker is alive: tasks that are created wait until one starts.</Text>;
}
