/** Calls back when a task has failed, when one that failed has changed, and when such events may have been missed. */
import { useEffect, useEffectEvent } from 'react';
import { graphql } from '@/gql';
import { useConnection } from '@/live/connection';
import { useWatch } from '@/live/useWatch';

const FAILURES = graphql(`
  subscription Failures($since: DateTime) {
    taskChanges(filter: { statuses: [FAILURE] }, since: $since) {
      at
    }
  }
`);

/** Returns why the server refuses to tell, if it does. The callback is called for each event: it has to be cheap. */
export function useFailureEvents(onEvent: () => void): string | null {
  const { state } = useConnection();
  const changed = useEffectEvent(onEvent);
  useEffect(() => {
    if (state === 'live') changed();
  }, [state]);
  return useWatch({
    document: FAILURES,
    variables: {},
    onResult: ({ taskChanges }) => {
      onEvent();
      return { since: taskChanges.at };
    },
  });
}
