/** Replays or deletes all tasks that a filter finds, in as many calls as the API needs: one changes at most 10,000. */
import { type Client } from 'urql';
import { errorText, userErrorText } from '@/api/messages';
import { graphql } from '@/gql';
import type { TaskFilter } from '@/gql/graphql';

const REPLAY = graphql(`
  mutation ReplayFailures($filter: TaskFilter!, $dryRun: Boolean!) {
    bulk: replayTasks(filter: $filter, dryRun: $dryRun) {
      matched
      changed
      userErrors {
        message
        field
      }
    }
  }
`);

const DELETE = graphql(`
  mutation DeleteFailures($filter: TaskFilter!, $dryRun: Boolean!) {
    bulk: deleteTasks(filter: $filter, dryRun: $dryRun) {
      matched
      changed
      userErrors {
        message
        field
      }
    }
  }
`);

const DOCUMENTS = { replay: REPLAY, delete: DELETE };

export type BulkAction = keyof typeof DOCUMENTS;

export interface Bulk {
  matched: number;
  changed: number;
  userErrors: readonly { message: string; field: readonly string[] | null }[];
}

/** Makes one call. */
export type Call = (dryRun: boolean) => Promise<Bulk>;

export interface Done {
  changed: number;
  /** Why tasks are left, if some are. */
  problem: string | null;
}

export const callOf =
  (client: Client, action: BulkAction, filter: TaskFilter): Call =>
  async (dryRun) => {
    const { data, error } = await client.mutation(DOCUMENTS[action], { filter, dryRun }).toPromise();
    if (!data) throw new Error(error ? errorText(error) : 'The answer of the server is empty.');
    return data.bulk;
  };

/** Returns how many tasks the action would change. */
export async function count(call: Call): Promise<number> {
  const { matched, userErrors } = await call(true);
  if (userErrors.length > 0) throw new Error(userErrorText(userErrors));
  return matched;
}

/** Calls until no task is left, or until a call changes none; tells after each how many are done. */
export async function changeAll(call: Call, onProgress: (changed: number) => void): Promise<Done> {
  let changed = 0;
  for (;;) {
    let bulk: Bulk;
    try {
      bulk = await call(false);
    } catch (error) {
      return { changed, problem: error instanceof Error ? error.message : String(error) };
    }
    changed += bulk.changed;
    onProgress(changed);
    const isDone = bulk.changed >= bulk.matched;
    if (isDone || bulk.changed === 0) return { changed, problem: isDone ? null : leftText(bulk) };
  }
}

function leftText({ matched, changed, userErrors }: Bulk): string {
  const [first] = userErrors;
  return first ? userErrorText(userErrors.slice(0, 3)) : `${matched - changed} could not be changed.`;
}
