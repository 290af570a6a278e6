/** A task as it is now: its live state, and whether it is still there. */
import { useCallback, useEffect, useRef, useState } from 'react';
import { useClient } from 'urql';
import type { TaskNowQuery } from '@/gql/graphql';
import { useWatch } from '@/live/useWatch';
import { TASK_CHANGED, TASK_NOW, TASK_UPDATED, type TaskState } from './documents';

// A task may change hundreds of times a second; a reader needs a few of the states.
const EVERY_MS = 150;

/**
 * Returns the newer one of two states. A final state wins, whatever its revision is: the database may have lost a
 * revision that was announced, and nothing follows an end but a change of the metadata.
 */
export function newer(one: TaskState, other: TaskState): TaskState {
  if (one.isFinal !== other.isFinal) return one.isFinal ? one : other;
  const [first, second] = [Date.parse(one.updatedAt), Date.parse(other.updatedAt)];
  if (first !== second) return first > second ? one : other;
  return one.revision > other.revision ? one : other;
}

/** Returns the newest state, drawn at most every 150 ms, and how to hand in another one. */
function useNewest(initial: TaskState): [TaskState, (state: TaskState) => TaskState] {
  const newest = useRef(initial);
  const timer = useRef<ReturnType<typeof setTimeout>>(undefined);
  const [drawn, draw] = useState(initial);
  useEffect(() => () => clearTimeout(timer.current), []);
  const offer = useCallback((state: TaskState) => {
    newest.current = newer(state, newest.current);
    timer.current ??= setTimeout(() => {
      timer.current = undefined;
      draw(newest.current);
    }, EVERY_MS);
    return newest.current;
  }, []);
  return [drawn, offer];
}

export interface LiveTask {
  task: TaskState;
  /** Whether the task was deleted while it was looked at, or is not visible any more. */
  isGone: boolean;
  /** Why nothing is live, if the server refused to watch. */
  refusal: string | null;
  /** Takes over the state that a mutation has returned. */
  offer: (state: TaskState) => void;
}

export function useLiveTask(initial: TaskState): LiveTask {
  const client = useClient();
  const [task, offer] = useNewest(initial);
  const [isGone, setGone] = useState(false);
  // The end of the watch, or null while the task runs.
  const [endedAt, setEndedAt] = useState(initial.isFinal ? initial.updatedAt : null);

  const ask = useCallback(() => client.query(TASK_NOW, { id: initial.id }).toPromise(), [client, initial.id]);
  const settle = useCallback(
    ({ data }: { data?: TaskNowQuery }) => {
      if (data?.task === null) setGone(true);
      // Without an answer too: the changes since the last state that is known tell the rest.
      else setEndedAt(offer(data?.task ?? initial).updatedAt);
    },
    [initial, offer],
  );
  const refusal = useWatch({
    document: TASK_UPDATED,
    variables: endedAt === null ? { id: initial.id } : null,
    onResult: ({ taskUpdated }) => {
      offer(taskUpdated);
      return undefined;
    },
    // The task has ended, was deleted, or may not be seen any more.
    onComplete: () => void ask().then(settle),
  });
  const laterRefusal = useWatch({
    document: TASK_CHANGED,
    variables: endedAt === null ? null : { id: initial.id, since: endedAt },
    onResult: ({ taskChanges: { at, taskId, task: changed } }) => {
      if (changed) offer(changed);
      // A removal may name any task, also one that never matched the filter: only a read of this one tells.
      else if (taskId === initial.id) void ask().then(settle);
      return { since: at };
    },
  });
  useEffect(() => {
    // A task that was deleted while the connection was lost is refused when it is watched again.
    if (refusal !== null) void ask().then(settle);
  }, [refusal, ask, settle]);
  return { task, isGone, refusal: refusal ?? laterRefusal, offer };
}
