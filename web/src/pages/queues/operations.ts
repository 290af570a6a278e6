/** The queues and workers, and what runs now: the overview and the pages of both read them together. */
import { graphql } from '@/gql';
import type { OperationsQuery } from '@/gql/graphql';
import type { Ask } from '@/live/useRefreshed';

const OPERATIONS = graphql(`
  query Operations($running: TaskFilter!) {
    queues {
      name
      depth
      oldestQueuedAt
    }
    workers {
      hostname
      pool
      concurrency
      active
      lastHeartbeatAt
      missedHeartbeats
      isConsuming
    }
    running: tasks(first: 500, filter: $running) {
      nodes {
        id
        name
        worker
        startedAt
      }
      queues: facet(by: QUEUE, first: 500) {
        value
        count
      }
    }
  }
`);

/** These figures change all the time, and no subscription tells them. */
export const OPERATIONS_EVERY_MS = 5_000;

export type Worker = OperationsQuery['workers'][number];
export type RunningTask = OperationsQuery['running']['nodes'][number];

export interface Queue {
  name: string;
  depth: number;
  oldestQueuedAt: string | null;
  running: number;
}

export interface Operations {
  queues: Queue[];
  workers: Worker[];
  /** The tasks that run, at most 500 of them. */
  running: readonly RunningTask[];
}

export async function loadOperations(ask: Ask): Promise<Operations> {
  const { queues, workers, running } = await ask(OPERATIONS, { running: { statuses: ['STARTED'] } });
  const runningIn = new Map(running.queues.map(({ value, count }) => [value, count]));
  return {
    queues: queues.map((queue) => ({ ...queue, running: runningIn.get(queue.name) ?? 0 })),
    workers: [...workers],
    running: running.nodes,
  };
}
