/** Data of the API that a component keeps fresh for as long as it is on the screen. */
import { startTransition, useCallback, useEffect, useEffectEvent, useRef, useState } from 'react';
import { type AnyVariables, CombinedError, type DocumentInput, useClient } from 'urql';
import { errorText } from '@/api/messages';
import { Refresher } from './refresher';

/** Asks one query, and returns its data; throws a CombinedError. */
export type Ask = <Data, Variables extends AnyVariables>(
  query: DocumentInput<Data, Variables>,
  variables: Variables,
) => Promise<Data>;

interface Options<T> {
  /** What is loaded: with another key, loading begins anew. null loads nothing. */
  key: string | null;
  /** Loads; `last` are the data that it loaded before, if it did. */
  load: (ask: Ask, last: T | null) => Promise<T>;
  /** The time after which it is loaded again; null only loads when asked to. */
  everyMs: number | null;
}

export interface Refreshed<T> {
  /** The last data of this key; null until they have come. */
  data: T | null;
  /** Why the last load failed, for people; null if it did not. Data of an earlier one may be there. */
  problem: string | null;
  /** Loads again, soon: however often it is called, once per second at most. */
  refresh: () => void;
}

interface State<T> {
  key: string;
  data: T | null;
  problem: string | null;
}

export function useRefreshed<T>({ key, load, everyMs }: Options<T>): Refreshed<T> {
  const client = useClient();
  const [state, setState] = useState<State<T> | null>(null);
  const current = useRef<Refresher<T> | null>(null);
  const loadNow = useEffectEvent(load);

  useEffect(() => {
    if (key === null) return;
    const ask: Ask = async (query, variables) => {
      const { data, error } = await client.query(query, variables).toPromise();
      if (error) throw error;
      if (data === undefined) throw new Error('The answer of the server is empty.');
      return data;
    };
    let last: T | null = null;
    const refresher = new Refresher<T>({
      load: async () => {
        last = await loadNow(ask, last);
        return last;
      },
      everyMs,
      onOutcome: ({ data, error }) => {
        // Nobody waits for it: drawing it may be interrupted by keys and clicks.
        startTransition(() =>
          setState((before) => ({
            key,
            data: data ?? (before?.key === key ? before.data : null),
            problem: error === undefined ? null : problemText(error),
          })),
        );
      },
    });
    current.current = refresher;
    return refresher.stop;
  }, [client, key, everyMs]);

  const refresh = useCallback(() => current.current?.refresh(), []);
  const isOurs = state !== null && state.key === key;
  return { data: isOurs ? state.data : null, problem: isOurs ? state.problem : null, refresh };
}

/** Returns why a request failed, for people. */
export function problemText(error: unknown): string {
  if (error instanceof CombinedError) return errorText(error);
  return error instanceof Error ? error.message : String(error);
}
