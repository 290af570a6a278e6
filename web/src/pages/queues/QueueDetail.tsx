import { Alert, Anchor, Button, Group, SimpleGrid, Stack, Text } from '@mantine/core';
import { IconAlertTriangle } from '@tabler/icons-react';
import { Link } from 'react-router';
import { type Refreshed, useRefreshed } from '@/live/useRefreshed';
import { Age } from '@/ui/Age';
import { DetailHead } from '@/ui/DetailHead';
import { Facts } from '@/ui/Facts';
import { Panel } from '@/ui/Panel';
import { TaskLines } from '@/ui/TaskLines';
import { definitionPath, tasksPath } from '@/ui/paths';
import { countText } from '@/ui/numbers';
import { workersText } from '@/pages/definitions/definitions';
import { type Operations, OPERATIONS_EVERY_MS } from './operations';
import { loadQueue, type QueueContent } from './queue';

interface Props {
  name: string;
  operations: Refreshed<Operations>;
}

const BACK = { to: '/queues', label: 'All queues' };

/** One queue. A name that no queue has is shown as what it is. */
export function QueueDetail({ name, operations }: Props) {
  const queue = operations.data?.queues.find((each) => each.name === name);
  const content = useRefreshed({
    key: name,
    load: (ask) => loadQueue(ask, name),
    everyMs: OPERATIONS_EVERY_MS,
  });
  return (
    <Stack>
      <DetailHead title={name} back={BACK}>
        <Button component={Link} to={tasksPath({ queue: name })} variant="default" size="compact-sm">
          Tasks of this queue
        </Button>
      </DetailHead>
      <Panel
        title="Now"
        isLoading={operations.data === null}
        problem={operations.problem}
        onRetry={operations.refresh}
      >
        {queue ? (
          <Facts
            facts={[
              ['Waiting', countText(queue.depth)],
              ['Oldest has waited', queue.oldestQueuedAt ? <Age since={queue.oldestQueuedAt} /> : '–'],
              ['Running', countText(queue.running)],
            ]}
          />
        ) : (
          <Text size="sm">
            There is no queue with this name: no task waits in it, and no worker consumes it.
          </Text>
        )}
      </Panel>
      {queue && <Content name={name} content={content} />}
    </Stack>
  );
}

function Content({ name, content }: { name: string; content: Refreshed<QueueContent> }) {
  const { data, problem, refresh } = content;
  const state = { isLoading: data === null, problem, onRetry: refresh };
  return (
    <SimpleGrid cols={{ base: 1, md: 2 }}>
      <Panel title="What waits" {...state}>
        {data && <Waiting name={name} content={data} />}
      </Panel>
      <Panel title="Task functions of this queue" {...state}>
        {data && <Definitions content={data} />}
      </Panel>
    </SimpleGrid>
  );
}

function Waiting({ name, content: { statuses, names, waiting } }: { name: string; content: QueueContent }) {
  return (
    <>
      <Group gap="md">
        {statuses.map(({ status, count }) => (
          <Anchor key={status} component={Link} size="sm" to={tasksPath({ status, queue: name })}>
            {countText(count)} {status}
          </Anchor>
        ))}
      </Group>
      {names.length > 1 && (
        <Text size="sm" style={{ overflowWrap: 'anywhere' }}>
          {names.map((each) => `${each.name}: ${countText(each.count)}`).join(' · ')}
        </Text>
      )}
      {waiting.length === 0 ? (
        <Text size="sm">No task waits in this queue.</Text>
      ) : (
        <TaskLines
          label="Tasks that were created first"
          timeLabel="Created"
          tasks={waiting.map(({ id, name: task, createdAt }) => ({ id, name: task, at: createdAt }))}
        />
      )}
    </>
  );
}

function Definitions({ content: { definitions } }: { content: QueueContent }) {
  if (definitions.length === 0) {
    return <Text size="sm">No task function uses this queue by itself.</Text>;
  }
  const orphans = definitions.filter(({ workers }) => workers === 0);
  return (
    <>
      {orphans.length > 0 && (
        <Alert color="orange" icon={<IconAlertTriangle size={18} />}>
          No live worker can run {functionsText(orphans.length)}.
        </Alert>
      )}
      <Stack gap={4}>
        {definitions.map(({ name, workers }) => (
          <Group key={name} justify="space-between" wrap="nowrap" gap="xs">
            <Anchor component={Link} to={definitionPath(name)} size="sm" style={{ overflowWrap: 'anywhere' }}>
              {name}
            </Anchor>
            <Text size="sm" c="dimmed" style={{ whiteSpace: 'nowrap' }}>
              {workersText(workers)}
            </Text>
          </Group>
        ))}
      </Stack>
    </>
  );
}

const functionsText = (count: number): string =>
  count === 1 ? 'one of these task functions' : `${count} of these task functions`;
