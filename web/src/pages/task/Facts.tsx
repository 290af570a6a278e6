import { Anchor, Group, SimpleGrid, Text } from '@mantine/core';
import type { ReactNode } from 'react';
import { Link } from 'react-router';
import { CopyButton } from '@/ui/CopyButton';
import { tasksPath } from '@/ui/paths';
import { Time } from '@/ui/Time';
import type { TaskState } from './documents';

/** The properties of a task, with links to the tasks that share them. */
export function Facts({ task }: { task: TaskState }) {
  return (
    <SimpleGrid
      cols={{ base: 2, sm: 3, md: 4, xl: 6 }}
      spacing="sm"
      verticalSpacing="xs"
      component="dl"
      m={0}
    >
      <Fact label="Name">
        <Anchor component={Link} to={tasksPath({ name: task.name })} size="sm">
          {task.name}
        </Anchor>
      </Fact>
      <Fact label="Queue">
        <Anchor component={Link} to={tasksPath({ queue: task.queue })} size="sm">
          {task.queue}
        </Anchor>
      </Fact>
      <Fact label="Priority">{task.priority === 0 ? '0 (runs first)' : String(task.priority)}</Fact>
      <Fact label="Attempts">{task.attempts}</Fact>
      {task.worker !== null && <Fact label="Worker">{task.worker}</Fact>}
      {task.owner !== null && <Fact label="Owner">{task.owner}</Fact>}
      <Fact label="Created">
        <Time at={task.createdAt} />
      </Fact>
      {task.scheduledFor !== null && (
        <Fact label="Start time">
          <Time at={task.scheduledFor} />
        </Fact>
      )}
      {task.finishedAt !== null && (
        <Fact label="Ended">
          <Time at={task.finishedAt} />
        </Fact>
      )}
      {task.expiresAt !== null && !task.isFinal && (
        <Fact label="Expires">
          <Time at={task.expiresAt} />
        </Fact>
      )}
      {task.idempotencyKey !== null && (
        <Fact label="Idempotency key">
          {task.idempotencyKey} <CopyButton label="Copy the idempotency key" text={task.idempotencyKey} />
        </Fact>
      )}
    </SimpleGrid>
  );
}

function Fact({ label, children }: { label: string; children: ReactNode }) {
  return (
    <div style={{ minWidth: 0 }}>
      <Text size="xs" c="dimmed" component="dt">
        {label}
      </Text>
      <Group component="dd" m={0} gap={4} wrap="nowrap" style={{ overflowWrap: 'anywhere' }}>
        <Text size="sm" component="span" style={{ minWidth: 0 }}>
          {children}
        </Text>
      </Group>
    </div>
  );
}
