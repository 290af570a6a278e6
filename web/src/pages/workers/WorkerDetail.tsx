import { Stack, Text } from '@mantine/core';
import type { Refreshed } from '@/live/useRefreshed';
import type { Operations, Worker } from '@/pages/queues/operations';
import { Age } from '@/ui/Age';
import { DetailHead } from '@/ui/DetailHead';
import { Facts } from '@/ui/Facts';
import { Panel } from '@/ui/Panel';
import { TaskLines } from '@/ui/TaskLines';
import { useSeesOwnOnly } from '@/ui/mine';
import { concern, runningOn, sharedNames } from './workers';

const BACK = { to: '/workers', label: 'All workers' };

/** One worker, or those that share its name. */
export function WorkerDetail({ name, operations }: { name: string; operations: Refreshed<Operations> }) {
  const { data, problem, refresh } = operations;
  const workers = data?.workers.filter(({ hostname }) => hostname === name) ?? [];
  return (
    <Stack>
      <DetailHead title={name} back={BACK} />
      <Panel title="Now" isLoading={data === null} problem={problem} onRetry={refresh}>
        {data && workers.length === 0 && (
          <Text size="sm">
            No worker with this name is alive. What it ran when it was lost runs again on another one.
          </Text>
        )}
        {sharedNames(workers).has(name) && (
          <Text size="sm">
            {workers.length} workers have this name. Give each its own with <code>-n</code>, so that you can
            tell which one runs a task.
          </Text>
        )}
        {workers.map((worker, index) => (
          <WorkerFacts key={index} worker={worker} />
        ))}
      </Panel>
      {data && <Running name={name} operations={data} />}
    </Stack>
  );
}

function WorkerFacts({ worker }: { worker: Worker }) {
  const { pool, concurrency, active, lastHeartbeatAt, isConsuming } = worker;
  return (
    <Facts
      facts={[
        ['State', concern(worker) ?? 'Alive'],
        ['Running', `${active} of ${concurrency}`],
        ['Pool', pool],
        ['Takes tasks', isConsuming ? 'yes' : 'no: its broker does not answer'],
        ['Last heartbeat', <Age key="age" since={lastHeartbeatAt} />],
      ]}
    />
  );
}

function Running({ name, operations }: { name: string; operations: Operations }) {
  const own = useSeesOwnOnly();
  const tasks = runningOn(operations.running, name);
  return (
    <Panel title={own ? 'Your tasks that it runs now' : 'What it runs now'}>
      {tasks.length === 0 ? (
        <Text size="sm">None.</Text>
      ) : (
        <TaskLines
          label="Running tasks"
          timeLabel="Started"
          tasks={tasks.map(({ id, name: task, startedAt }) => ({ id, name: task, at: startedAt }))}
        />
      )}
    </Panel>
  );
}
