/** Whether live updates are paused: for the whole tab, until somebody lets them go on. */
import { useSyncExternalStore } from 'react';

const KEY = 'gql-api.paused';
const listeners = new Set<() => void>();

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

export const isPaused = (): boolean => sessionStorage.getItem(KEY) !== null;

export function setPaused(paused: boolean): void {
  if (paused) sessionStorage.setItem(KEY, '1');
  else sessionStorage.removeItem(KEY);
  listeners.forEach((listener) => listener());
}

export const usePaused = (): boolean => useSyncExternalStore(subscribe, isPaused);
