import { Badge } from '@mantine/core';
import type { TaskStatus } from '@/gql/graphql';

/** The colours of the states. They are for quick readers only: each badge has the word too. */
export const STATUS_COLORS: Record<TaskStatus, string> = {
  SCHEDULED: 'grape',
  QUEUED: 'gray',
  STARTED: 'blue',
  RETRY: 'orange',
  SUCCESS: 'green',
  FAILURE: 'red',
  REVOKED: 'dark',
};

export const UNFINISHED: readonly TaskStatus[] = ['SCHEDULED', 'QUEUED', 'STARTED', 'RETRY'];
export const FINISHED: readonly TaskStatus[] = ['SUCCESS', 'FAILURE', 'REVOKED'];
export const STATUSES = Object.keys(STATUS_COLORS) as TaskStatus[];

export function StatusBadge({ status }: { status: TaskStatus }) {
  return (
    <Badge color={STATUS_COLORS[status]} variant="light" radius="sm" autoContrast>
      {status}
    </Badge>
  );
}
