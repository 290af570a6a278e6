import { Alert, Badge, Grid, Group, Stack, Tabs, Text, Title } from '@mantine/core';
import { IconHandStop, IconTrash } from '@tabler/icons-react';
import { useState } from 'react';
import { useSearchParams } from 'react-router';
import type { TaskPageQuery } from '@/gql/graphql';
import { CopyButton } from '@/ui/CopyButton';
import { Problem } from '@/ui/Problem';
import { StatusBadge } from '@/ui/StatusBadge';
import { Time } from '@/ui/Time';
import { Actions } from './Actions';
import { ErrorCard } from './ErrorCard';
import { TaskFacts } from './TaskFacts';
import { FamilyTab } from './FamilyTab';
import { useLiveTask } from './live';
import { LogTab } from './LogTab';
import { ProgressCard } from './ProgressCard';
import { Runners } from './Runners';
import { Timeline } from './Timeline';
import { Values } from './Values';

type Found = NonNullable<TaskPageQuery['task']>;

const TABS = { values: 'Values', log: 'Log', family: 'Related tasks' };

/** A task that was found. */
export function TaskView({ found }: { found: Found }) {
  const { task, isGone, refusal, offer } = useLiveTask(found);
  const [isDeleted, setDeleted] = useState(false);
  const isThere = !isGone && !isDeleted;
  return (
    <Stack gap="md">
      <Group justify="space-between" align="start">
        <div style={{ minWidth: 0 }}>
          <Group gap="xs">
            <Title order={1} size="h3" style={{ overflowWrap: 'anywhere' }}>
              {task.name}
            </Title>
            <StatusBadge status={task.status} />
            {task.cancelRequestedAt !== null && !task.isFinal && (
              <Badge color="orange" variant="light" radius="sm" leftSection={<IconHandStop size={12} />}>
                Cancellation requested
              </Badge>
            )}
          </Group>
          <Group gap={4} wrap="nowrap">
            <Text size="xs" c="dimmed" ff="monospace" style={{ overflowWrap: 'anywhere' }}>
              {task.id}
            </Text>
            <CopyButton label="Copy the id" text={task.id} />
          </Group>
        </div>
        {isThere && <Actions task={task} offer={offer} onDeleted={() => setDeleted(true)} />}
      </Group>
      {!isThere && (
        <Alert
          color="yellow"
          icon={<IconTrash size={18} />}
          role="alert"
          title="This task is not there any more"
        >
          {isDeleted
            ? 'You have deleted it. Below is its last state.'
            : 'It was deleted, or you may not see it any more. Below is its last known state.'}
        </Alert>
      )}
      {isThere && refusal !== null && <Problem text={`This page is not live: ${refusal}`} />}
      <TaskFacts task={task} />
      {isThere && <Runners task={task} />}
      <ErrorCard task={task} />
      <ProgressCard task={task} />
      <Grid gap="md">
        <Grid.Col span={{ base: 12, lg: 5, xl: 4 }}>
          <Timeline task={task} />
        </Grid.Col>
        <Grid.Col span={{ base: 12, lg: 7, xl: 8 }}>
          {isThere && <Details found={found} task={task} offer={offer} />}
        </Grid.Col>
      </Grid>
      <Text size="xs" c="dimmed">
        Revision {task.revision}, stored <Time at={task.updatedAt} />
      </Text>
    </Stack>
  );
}

interface DetailsProps {
  found: Found;
  task: ReturnType<typeof useLiveTask>['task'];
  offer: ReturnType<typeof useLiveTask>['offer'];
}

/** The large parts of a task. Only the open one is loaded; which one that is stands in the address. */
function Details({ found, task, offer }: DetailsProps) {
  const [search, setSearch] = useSearchParams();
  const asked = search.get('tab');
  const tab = asked !== null && asked in TABS ? asked : 'values';
  const open = (next: string | null): void =>
    setSearch(
      (before) => {
        if (next === null || next === 'values') before.delete('tab');
        else before.set('tab', next);
        return before;
      },
      { replace: true },
    );
  return (
    <Tabs value={tab} onChange={open} keepMounted={false}>
      <Tabs.List mb="md" aria-label="Parts of the task">
        {Object.entries(TABS).map(([value, label]) => (
          <Tabs.Tab key={value} value={value}>
            {label}
          </Tabs.Tab>
        ))}
      </Tabs.List>
      <Tabs.Panel value="values">
        <Values task={task} offer={offer} />
      </Tabs.Panel>
      <Tabs.Panel value="log">
        <LogTab id={task.id} isFinal={task.isFinal} />
      </Tabs.Panel>
      <Tabs.Panel value="family">
        <FamilyTab task={found} />
      </Tabs.Panel>
    </Tabs>
  );
}
