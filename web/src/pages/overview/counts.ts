/** How many tasks are in each status: now for those that wait or run, within the window for those that have ended. */
import { graphql } from '@/gql';
import type { TaskStatus } from '@/gql/graphql';
import type { Ask } from '@/live/useRefreshed';
import { FINISHED, UNFINISHED } from '@/ui/StatusBadge';

const COUNTS = graphql(`
  query StatusCounts($unfinished: TaskFilter!, $finished: TaskFilter!) {
    unfinished: tasks(first: 1, filter: $unfinished) {
      facet(by: STATUS) {
        value
        count
      }
    }
    finished: tasks(first: 1, filter: $finished) {
      facet(by: STATUS) {
        value
        count
      }
    }
  }
`);

export interface Counts {
  of: Partial<Record<TaskStatus, number>>;
  from: string;
}

export async function loadCounts(ask: Ask, from: string): Promise<Counts> {
  const { unfinished, finished } = await ask(COUNTS, {
    unfinished: { statuses: [...UNFINISHED] },
    finished: { statuses: [...FINISHED], finishedAt: { gte: from } },
  });
  const buckets = [...unfinished.facet, ...finished.facet];
  return { of: Object.fromEntries(buckets.map(({ value, count }) => [String(value), count])), from };
}
