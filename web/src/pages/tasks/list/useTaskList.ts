/** The list that belongs to what is in the address. */
import { useEffect, useSyncExternalStore } from 'react';
import { type Client, useClient } from 'urql';
import { useConnection } from '@/live/connection';
import { type ListState, type Spec, TaskList } from './TaskList';

/** The last list of each token: another token must never see it. */
const lists = new WeakMap<Client, { key: string; list: TaskList }>();

function listFor(client: Client, key: string, makeSpec: () => Spec): TaskList {
  const kept = lists.get(client);
  if (kept?.key === key) return kept.list;
  const list = new TaskList(client, makeSpec());
  lists.set(client, { key, list });
  return list;
}

/** Returns a part of the state of a list; a change of the other parts does not matter to the component. */
export function useListState<Part>(list: TaskList, select: (state: ListState) => Part): Part {
  return useSyncExternalStore(list.subscribe, () => select(list.getState()));
}

/** Returns the list with this key: the same one for who comes back to it. Another key makes another list. */
export function useTaskList(key: string, makeSpec: () => Spec, isPaused: boolean): TaskList {
  const client = useClient();
  const list = listFor(client, key, makeSpec);
  const isReady = useListState(list, (state) => state.isReady);
  useEffect(() => {
    list.start();
    return () => list.stop();
  }, [list]);
  useEffect(() => {
    if (!isPaused) list.resume();
  }, [list, isPaused]);
  useConfirmed(list, isReady && !isPaused);
  return list;
}

/** Notes for as long as the connection lives that the list is not stale. */
function useConfirmed(list: TaskList, isWatching: boolean): void {
  const isLive = useConnection().state === 'live' && isWatching;
  useEffect(() => {
    if (!isLive) return;
    const timer = setInterval(() => list.confirm(), 1_000);
    return () => clearInterval(timer);
  }, [list, isLive]);
}
