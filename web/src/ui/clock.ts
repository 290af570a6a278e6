/** The time of day that relative times are computed from: one timer for the page. */
import { useSyncExternalStore } from 'react';

let now = Date.now();
const listeners = new Set<() => void>();
let timer: ReturnType<typeof setInterval> | undefined;

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  timer ??= setInterval(() => {
    now = Date.now();
    listeners.forEach((each) => each());
  }, 1_000);
  return () => {
    listeners.delete(listener);
    if (listeners.size > 0) return;
    clearInterval(timer);
    timer = undefined;
  };
}

/** Returns the time in milliseconds of the epoch, each second anew. */
export const useNow = (): number => useSyncExternalStore(subscribe, () => now);

/** Returns what follows from the time, and draws the component anew only when that has changed. */
export const useOfNow = <Value extends string | number>(of: (now: number) => Value): Value =>
  useSyncExternalStore(subscribe, () => of(now));
