/** The commands that the page on the screen adds to the palette, beside those of the navigation. */
import { useEffect, useEffectEvent, useSyncExternalStore } from 'react';

export interface Command {
  id: string;
  label: string;
  description?: string;
  run: () => void;
}

let commands: readonly Command[] = [];
const listeners = new Set<() => void>();

function set(next: readonly Command[]): void {
  commands = next;
  listeners.forEach((listener) => listener());
}

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

export const usePageCommands = (): readonly Command[] => useSyncExternalStore(subscribe, () => commands);

/** Offers commands for as long as the component is on the screen. */
export function useCommands(offered: readonly Command[]): void {
  const run = useEffectEvent((id: string) => offered.find((each) => each.id === id)?.run());
  const key = JSON.stringify(offered.map(({ id, label, description }) => ({ id, label, description })));
  useEffect(() => {
    const mine = (JSON.parse(key) as Omit<Command, 'run'>[]).map((each) => ({
      ...each,
      run: () => run(each.id),
    }));
    set([...commands, ...mine]);
    return () => set(commands.filter((each) => !mine.includes(each)));
  }, [key]);
}
