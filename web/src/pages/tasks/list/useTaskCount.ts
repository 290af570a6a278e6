/** How many tasks match. Counting costs the database a scan, so that it is asked rarely, and not while nobody looks. */
import { useCallback, useEffect, useRef, useState } from 'react';
import { stringifyDocument, useClient } from 'urql';
import type { TaskCountQuery, TaskCountQueryVariables } from '@/gql/graphql';
import { withLiteral } from '../search/exact';
import { TASK_COUNT } from './documents';
import type { ListState, TaskList } from './TaskList';
import { useListState } from './useTaskList';

export interface TaskCount {
  count: number | null;
  /** When it was counted, in milliseconds of the epoch by this computer's clock. */
  at: number;
  isUncountable: boolean;
  recount: () => void;
}

const RECOUNT_MS = 30_000;
const DELAY_MS = 300;

export function useTaskCount(list: TaskList, isPaused: boolean): TaskCount {
  const client = useClient();
  const isLoaded = useListState(list, (state) => state.isLoaded);
  const [state, setState] = useState<{
    list: TaskList;
    count: number | null;
    at: number;
    isUncountable: boolean;
  }>();
  const counted = useRef<ListState['contents']>(null);

  const recount = useCallback(() => {
    const { written } = list.spec;
    counted.current = list.getState().contents;
    void client
      .query<TaskCountQuery, TaskCountQueryVariables>(withLiteral(stringifyDocument(TASK_COUNT), written), {
        filter: written.filter,
      })
      .toPromise()
      .then(({ data }) => {
        const count = data?.tasks.totalCount ?? null;
        setState({ list, count, at: Date.now(), isUncountable: count === null });
      });
  }, [client, list]);

  useEffect(() => {
    if (!isLoaded) return;
    const first = setTimeout(recount, DELAY_MS);
    const timer = setInterval(() => {
      if (!document.hidden && !isPaused && counted.current !== list.getState().contents) recount();
    }, RECOUNT_MS);
    return () => {
      clearTimeout(first);
      clearInterval(timer);
    };
  }, [recount, list, isLoaded, isPaused]);

  const { count, at, isUncountable } =
    state?.list === list ? state : { count: null, at: 0, isUncountable: false };
  return { count, at, isUncountable, recount };
}
