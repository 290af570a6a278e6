/** Data of the API that a component keeps fresh for as long as it is on the screen. */
import { startTransition, useEffect, useEffectEvent, useMemo, useRef, useState } from 'react';
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
  /**
   * Changes the data at once, until they are loaded again. A load under way may be older than the change, so its data
   * are changed too: the change must do nothing to data that have it.
   */
  change: (make: Change<T>) => void;
}

type Change<T> = (data: T) => T;

interface Handle<T> {
  refresh: () => void;
  change: (make: Change<T>) => void;
}

interface State<T> {
  key: string;
  data: T | null;
  problem: string | null;
}

export function useRefreshed<T>({ key, load, everyMs }: Options<T>): Refreshed<T> {
  const client = useClient();
  const [state, setState] = useState<State<T> | null>(null);
  const current = useRef<Handle<T> | null>(null);
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
    let problem: string | null = null;
    let duringLoad: Change<T>[] = [];
    // Nobody waits for it: drawing it may be interrupted by keys and clicks.
    const draw = (): void => startTransition(() => setState({ key, data: last, problem }));
    const refresher = new Refresher<T>({
      load: () => {
        duringLoad = [];
        return loadNow(ask, last);
      },
      everyMs,
      onOutcome: ({ data, error }) => {
        problem = error === undefined ? null : problemText(error);
        if (data !== undefined) last = duringLoad.reduce<T>((loaded, make) => make(loaded), data);
        draw();
      },
    });
    current.current = {
      refresh: refresher.refresh,
      change: (make) => {
        duringLoad.push(make);
        if (last === null) return;
        last = make(last);
        draw();
      },
    };
    return refresher.stop;
  }, [client, key, everyMs]);

  const handle = useMemo<Handle<T>>(
    () => ({
      refresh: () => current.current?.refresh(),
      change: (make) => current.current?.change(make),
    }),
    [],
  );
  const isOurs = state !== null && state.key === key;
  return { data: isOurs ? state.data : null, problem: isOurs ? state.problem : null, ...handle };
}

/** Returns why a request failed, for people. */
export function problemText(error: unknown): string {
  if (error instanceof CombinedError) return errorText(error);
  return error instanceof Error ? error.message : String(error);
}
