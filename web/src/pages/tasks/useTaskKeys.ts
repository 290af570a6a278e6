/** The keys of the list. They do nothing while somebody writes, or in a dialog. */
import { useEffect, useEffectEvent } from 'react';

export type TaskKeys = Partial<Record<string, () => void>>;

const WRITES =
  'input:not([type=checkbox]), textarea, select, [contenteditable=true], [role=dialog], [role=menu]';

export function useTaskKeys(keys: TaskKeys): void {
  const onKey = useEffectEvent((event: KeyboardEvent) => {
    const isShortcut = event.ctrlKey || event.metaKey || event.altKey;
    const isElsewhere = event.target instanceof Element && event.target.closest(WRITES) !== null;
    const run = keys[event.key];
    if (isShortcut || isElsewhere || !run || document.querySelector('[role=dialog][aria-modal=true]')) return;
    event.preventDefault();
    run();
  });
  useEffect(() => {
    const listener = (event: KeyboardEvent): void => onKey(event);
    document.addEventListener('keydown', listener);
    return () => document.removeEventListener('keydown', listener);
  }, []);
}
