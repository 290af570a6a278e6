/** The log of a task: the lines that are stored, then those that it logs while one looks. */
import { useEffect, useRef, useState } from 'react';
import type { LogLevel, TaskLogSubscription } from '@/gql/graphql';
import { useWatch } from '@/live/useWatch';
import { LOG } from './documents';

export type Line = TaskLogSubscription['taskLogged'];

// Lines come by the thousand: they are drawn together.
const EVERY_MS = 200;
/** More lines than a task can store by default; beyond that the oldest are dropped, to bound the memory of the tab. */
export const MAX_LINES = 100_000;

export interface Log {
  lines: readonly Line[];
  /** How many of the oldest lines were dropped. */
  dropped: number;
  /** Whether the task has ended and all of its lines are here. */
  isComplete: boolean;
  refusal: string | null;
}

export function useLog(id: string, minLevel: LogLevel): Log {
  const [{ lines, dropped }, setLines] = useState<{ lines: readonly Line[]; dropped: number }>({
    lines: [],
    dropped: 0,
  });
  const [isComplete, setComplete] = useState(false);
  const waiting = useRef<Line[]>([]);
  const timer = useRef<ReturnType<typeof setTimeout>>(undefined);

  const draw = (): void => {
    const added = waiting.current;
    waiting.current = [];
    timer.current = undefined;
    setLines((before) => {
      const all = [...before.lines, ...added];
      const over = Math.max(0, all.length - MAX_LINES);
      return { lines: over > 0 ? all.slice(over) : all, dropped: before.dropped + over };
    });
  };
  useEffect(() => () => clearTimeout(timer.current), []);
  const refusal = useWatch({
    document: LOG,
    variables: isComplete ? null : { id, minLevel, after: null as string | null },
    onResult: ({ taskLogged }) => {
      waiting.current.push(taskLogged);
      timer.current ??= setTimeout(draw, EVERY_MS);
      return { after: taskLogged.cursor };
    },
    onComplete: () => setComplete(true),
  });
  return { lines, dropped, isComplete, refusal };
}
