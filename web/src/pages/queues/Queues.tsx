/** All queues, or the one that the address names. */
import { Stack, Text, Title } from '@mantine/core';
import { useSearchParams } from 'react-router';
import { useRefreshed } from '@/live/useRefreshed';
import { Panel } from '@/ui/Panel';
import { loadOperations, OPERATIONS_EVERY_MS } from './operations';
import { QueueDetail } from './QueueDetail';
import { QueueTable } from './QueueTable';

export default function Queues() {
  const [parameters] = useSearchParams();
  const name = parameters.get('name');
  const operations = useRefreshed({ key: 'operations', load: loadOperations, everyMs: OPERATIONS_EVERY_MS });
  const { data, problem, refresh } = operations;
  if (name !== null) return <QueueDetail key={name} name={name} operations={operations} />;
  return (
    <Stack>
      <Title order={1} size="h3">
        Queues
      </Title>
      <Panel
        title="All queues"
        hint="Those in which tasks wait, which workers consume, or which task functions use."
        isLoading={data === null}
        problem={problem}
        onRetry={refresh}
      >
        {data && data.queues.length > 0 && <QueueTable queues={data.queues} />}
        {data?.queues.length === 0 && <Text size="sm">There is no queue yet: start a worker.</Text>}
      </Panel>
    </Stack>
  );
}
