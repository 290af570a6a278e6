import { useEffect, useMemo } from 'react';
import { stringifyDocument } from 'urql';
import { parse } from 'graphql';
import type { TypedDocumentNode } from '@graphql-typed-document-node/core';
import type { TaskListChangesSubscription, TaskListChangesSubscriptionVariables } from '@/gql/graphql';
import { useWatch } from '@/live/useWatch';
import { withLiteral } from '../search/exact';
import { TASK_LIST_CHANGES } from './documents';
import { neededFields, type TaskList } from './TaskList';

type Changes = TypedDocumentNode<TaskListChangesSubscription, TaskListChangesSubscriptionVariables>;

/** Brings the changes to the list, from where it is on. It shows nothing; a new key begins another subscription. */
export function TaskWatch({ list }: { list: TaskList }) {
  const { written, extras } = list.spec;
  const document = useMemo(
    () => parse(withLiteral(stringifyDocument(TASK_LIST_CHANGES), written)) as Changes,
    [written],
  );
  const variables = useMemo(
    () => ({ filter: written.filter, since: list.since(), ...neededFields(extras) }),
    [list, written, extras],
  );
  const refusal = useWatch({
    document,
    variables,
    onResult: (changes) => ({ since: list.receive(changes) }),
    onComplete: () => list.refused('The server has ended the live updates.'),
  });
  useEffect(() => {
    if (refusal !== null) list.refused(refusal);
  }, [list, refusal]);
  return null;
}
