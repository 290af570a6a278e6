import { Anchor } from '@mantine/core';
import { Link } from 'react-router';
import { CopyButton } from '@/ui/CopyButton';
import { Facts } from '@/ui/Facts';
import { tasksPath } from '@/ui/paths';
import { Time } from '@/ui/Time';
import type { TaskState } from './documents';

const COLS = { base: 2, sm: 3, md: 4, xl: 6 };

/** The properties of a task, with links to the tasks that share them. */
export function TaskFacts({ task }: { task: TaskState }) {
  const { name, queue, priority, attempts, worker, owner, createdAt, scheduledFor, finishedAt } = task;
  const { expiresAt, isFinal, idempotencyKey: key } = task;
  return (
    <Facts
      cols={COLS}
      facts={[
        ['Name', <TasksLink key="name" to={tasksPath({ name })} text={name} />],
        ['Queue', <TasksLink key="queue" to={tasksPath({ queue })} text={queue} />],
        ['Priority', priority === 0 ? '0 (runs first)' : priority],
        ['Attempts', attempts],
        ['Worker', worker],
        ['Owner', owner],
        ['Created', timeOf(createdAt)],
        ['Start time', timeOf(scheduledFor)],
        ['Ended', timeOf(finishedAt)],
        ['Expires', isFinal ? null : timeOf(expiresAt)],
        ['Idempotency key', key === null ? null : <Key key="key" text={key} />],
      ]}
    />
  );
}

const timeOf = (at: string | null) => at && <Time key={at} at={at} />;

function TasksLink({ to, text }: { to: string; text: string }) {
  return (
    <Anchor component={Link} to={to} inherit>
      {text}
    </Anchor>
  );
}

function Key({ text }: { text: string }) {
  return (
    <>
      {text} <CopyButton label="Copy the idempotency key" text={text} />
    </>
  );
}
