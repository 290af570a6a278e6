/** One queue: what waits and runs in it, and the task functions that use it. */
import { graphql } from '@/gql';
import type { QueueDetailQuery, TaskStatus } from '@/gql/graphql';
import type { Ask } from '@/live/useRefreshed';
import { UNFINISHED } from '@/ui/StatusBadge';

const QUEUE = graphql(`
  query QueueDetail($unfinished: TaskFilter!, $waiting: TaskFilter!) {
    unfinished: tasks(first: 1, filter: $unfinished) {
      statuses: facet(by: STATUS) {
        value
        count
      }
    }
    waiting: tasks(first: 10, filter: $waiting, orderBy: { field: CREATED_AT, direction: ASC }) {
      nodes {
        id
        name
        createdAt
      }
      names: facet(by: NAME, first: 20) {
        value
        count
      }
    }
    taskDefinitions {
      name
      queue
      workers
    }
  }
`);

export interface QueueContent {
  statuses: { status: TaskStatus; count: number }[];
  waiting: QueueDetailQuery['waiting']['nodes'];
  names: { name: string; count: number }[];
  definitions: { name: string; workers: number }[];
}

export async function loadQueue(ask: Ask, queue: string): Promise<QueueContent> {
  const { unfinished, waiting, taskDefinitions } = await ask(QUEUE, {
    unfinished: { queues: [queue], statuses: [...UNFINISHED] },
    waiting: { queues: [queue], statuses: ['QUEUED'] },
  });
  const counts = new Map(unfinished.statuses.map(({ value, count }) => [value, count]));
  return {
    statuses: UNFINISHED.map((status) => ({ status, count: counts.get(status) ?? 0 })),
    waiting: waiting.nodes,
    names: waiting.names.map(({ value, count }) => ({ name: String(value), count })),
    definitions: taskDefinitions.filter((definition) => definition.queue === queue),
  };
}
