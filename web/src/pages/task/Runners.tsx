import { Alert } from '@mantine/core';
import { IconPlugConnectedX } from '@tabler/icons-react';
import { useDocumentVisibility, useInterval } from '@mantine/hooks';
import { useQuery } from 'urql';
import { RUNNERS, type TaskState } from './documents';
import { useMay } from '@/access/viewer';

const EVERY_MS = 10_000;

/** Says why a task waits for nothing: no worker that could run it is online. */
export function Runners({ task }: { task: TaskState }) {
  const mayRead = useMay('OPERATE');
  const isWaiting = task.status === 'QUEUED' || task.status === 'RETRY';
  return mayRead && isWaiting ? <Waiting id={task.id} /> : null;
}

function Waiting({ id }: { id: string }) {
  const [{ data }, ask] = useQuery({ query: RUNNERS, variables: { id } });
  const isVisible = useDocumentVisibility() === 'visible';
  useInterval(
    () => {
      if (isVisible) ask();
    },
    EVERY_MS,
    { autoInvoke: true },
  );
  if (data?.task?.definition?.workers !== 0) return null;
  return (
    <Alert color="orange" icon={<IconPlugConnectedX size={18} />} role="status">
      No worker that can run this task is online. It starts when one comes.
    </Alert>
  );
}
