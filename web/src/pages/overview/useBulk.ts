/** A bulk action from its button to its end: count, question, calls, and a word about what was done. */
import { notifications } from '@mantine/notifications';
import { useState } from 'react';
import { useClient } from 'urql';
import type { TaskFilter } from '@/gql/graphql';
import { problemText } from '@/live/useRefreshed';
import { countText, tasksText } from '@/ui/numbers';
import { type BulkAction, type Call, callOf, changeAll, count } from './bulk';

const DONE = { replay: 'replayed', delete: 'deleted' };

export interface Question {
  action: BulkAction;
  /** How many tasks a dry run has found. */
  matched: number;
  call: Call;
}

export interface BulkState {
  /** The action that is being counted. */
  counts: BulkAction | null;
  question: Question | null;
  /** How many tasks the running action has changed. */
  changed: number | null;
  ask: (action: BulkAction, filter: TaskFilter) => Promise<void>;
  confirm: () => Promise<void>;
  close: () => void;
}

export function useBulk(onDone: () => void): BulkState {
  const client = useClient();
  const [counts, setCounts] = useState<BulkAction | null>(null);
  const [question, setQuestion] = useState<Question | null>(null);
  const [changed, setChanged] = useState<number | null>(null);

  const ask = async (action: BulkAction, filter: TaskFilter): Promise<void> => {
    const call = callOf(client, action, filter);
    setCounts(action);
    try {
      const matched = await count(call);
      if (matched > 0) setQuestion({ action, matched, call });
      else {
        notifications.show({ message: `No task is left to ${action}.` });
        onDone();
      }
    } catch (error) {
      notifications.show({ color: 'red', message: problemText(error) });
    } finally {
      setCounts(null);
    }
  };

  const confirm = async (): Promise<void> => {
    if (question === null) return;
    setChanged(0);
    const done = await changeAll(question.call, setChanged);
    setChanged(null);
    notifications.show(
      done.problem === null
        ? { message: `${tasksText(done.changed)} ${DONE[question.action]}.` }
        : {
            color: 'red',
            autoClose: false,
            title: `${countText(done.changed)} of ${tasksText(question.matched)} ${DONE[question.action]}`,
            message: done.problem,
          },
    );
    onDone();
  };

  return { counts, question, changed, ask, confirm, close: () => setQuestion(null) };
}
