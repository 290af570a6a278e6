/** A bulk action from the question to its end. */
import { useRef, useState } from 'react';
import { stringifyDocument, useClient } from 'urql';
import { errorText } from '@/api/messages';
import type { CancelTasksMutation, CancelTasksMutationVariables } from '@/gql/graphql';
import { serverNow } from '@/live/serverClock';
import { withLiteral, type Written } from '@/pages/tasks/search/exact';
import { CANCEL_TASKS, DELETE_TASKS, REPLAY_TASKS } from './documents';
import { type Call, count, createdBefore, type Progress, run } from './run';

export type Action = 'cancel' | 'replay' | 'delete';

/** Which tasks an action is for. The filter is that of the moment of the question: an age in it moves no further. */
export interface Target {
  /** How the question names them, like "the 3 selected tasks". */
  name: string;
  filters: readonly Written[];
  /** Whether no condition limits them. */
  isEverything: boolean;
}

export interface Bulk {
  action: Action;
  target: Target;
  /** How many tasks would be changed; null until they are counted. */
  matched: number | null;
  progress: Progress;
  phase: 'counting' | 'question' | 'running' | 'done';
  error: string | null;
}

const DOCUMENTS = { cancel: CANCEL_TASKS, replay: REPLAY_TASKS, delete: DELETE_TASKS };

export interface BulkActions {
  bulk: Bulk | null;
  ask: (action: Action, target: Target) => void;
  confirm: () => void;
  /** Ends the question, or stops the action before its next call. */
  close: () => void;
}

/** `onDone` is called when an action has ended, or has found nothing to change. */
export function useBulk(onDone?: () => void): BulkActions {
  const client = useClient();
  const [bulk, setBulk] = useState<Bulk | null>(null);
  // The question that is open: what arrives for an older one is dropped.
  const current = useRef(0);

  const callOf = (action: Action): Call => {
    const document = stringifyDocument(DOCUMENTS[action]);
    return async (written, dryRun) => {
      const { data, error } = await client
        .mutation<CancelTasksMutation, CancelTasksMutationVariables>(withLiteral(document, written), {
          filter: written.filter,
          dryRun,
        })
        .toPromise();
      if (data) return data.outcome;
      throw new Error(error ? errorText(error) : 'The server sent no answer.');
    };
  };

  const step = async (asked: number, work: () => Promise<Partial<Bulk>>): Promise<void> => {
    const change = await work().catch((error: unknown) => ({
      phase: 'done' as const,
      error: error instanceof Error ? error.message : String(error),
    }));
    if (asked === current.current) setBulk((now) => now && { ...now, ...change });
  };

  return {
    bulk,
    ask: (action, wanted) => {
      const target = action === 'replay' ? withoutReplays(wanted) : wanted;
      const asked = (current.current += 1);
      setBulk({
        action,
        target,
        matched: null,
        progress: { changed: 0, reasons: [] },
        phase: 'counting',
        error: null,
      });
      void step(asked, async () => {
        const { matched, reasons } = await count(callOf(action), target.filters);
        if (matched === 0) onDone?.();
        return { matched, phase: 'question', progress: { changed: 0, reasons } };
      });
    },
    confirm: () => {
      if (bulk?.phase !== 'question') return;
      const asked = current.current;
      setBulk({ ...bulk, phase: 'running' });
      const onProgress = (progress: Progress): void => {
        if (asked === current.current) setBulk((now) => now && { ...now, progress });
      };
      void step(asked, async () => {
        try {
          await run(callOf(bulk.action), bulk.target.filters, onProgress, () => asked !== current.current);
        } finally {
          onDone?.();
        }
        return { phase: 'done' };
      });
    },
    close: () => {
      current.current += 1;
      setBulk(null);
    },
  };
}

/**
 * Replays can match the filter themselves, for example when they fail at once. The next of several calls would replay
 * them too, and so on without an end.
 */
function withoutReplays(target: Target): Target {
  const now = new Date(serverNow()).toISOString();
  return { ...target, filters: target.filters.map((written) => createdBefore(written, now)) };
}
