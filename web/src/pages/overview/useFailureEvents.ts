/** Hands on tasks that have failed, or that failed earlier and have changed, and says when more may have been missed. */
import { useEffect, useEffectEvent, useRef } from 'react';
import { graphql } from '@/gql';
import { Batch } from '@/live/batch';
import { useConnection } from '@/live/connection';
import { useWatch } from '@/live/useWatch';
import type { FailedTask } from './failures';

const FAILURES = graphql(`
  subscription Failures($since: DateTime) {
    taskChanges(filter: { statuses: [FAILURE] }, since: $since) {
      at
      task {
        id
        name
        finishedAt
        updatedAt
        error {
          type
        }
      }
    }
  }
`);

/**
 * Returns why the server refuses to watch, if it does.
 *
 * @param onFailed receives the tasks of some events; none where a task has left or was deleted, or events may be missing.
 */
export function useFailureEvents(onFailed: (tasks: readonly FailedTask[]) => void): string | null {
  const { state } = useConnection();
  const handOn = useEffectEvent((tasks: readonly (FailedTask | null)[]) =>
    onFailed(tasks.filter((task) => task !== null)),
  );
  const batch = useRef<Batch<FailedTask | null>>(null);
  useEffect(() => {
    const made = new Batch<FailedTask | null>((tasks) => handOn(tasks));
    batch.current = made;
    return () => made.clear();
  }, []);
  useEffect(() => {
    if (state === 'live') handOn([]);
  }, [state]);
  return useWatch({
    document: FAILURES,
    variables: {},
    onResult: ({ taskChanges: { at, task } }) => {
      batch.current?.add(task);
      return { since: at };
    },
  });
}
