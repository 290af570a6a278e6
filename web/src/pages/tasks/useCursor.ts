/** The active row, which the keyboard moves. */
import { useState } from 'react';
import type { Entry } from '@/live/LiveList';
import type { Row } from './list/rows';
import type { TaskList } from './list/TaskList';

export interface Cursor {
  activeId: string | null;
  move: (by: 1 | -1) => void;
  leave: () => void;
}

export function useCursor(list: TaskList, entries: readonly Entry<Row>[]): Cursor {
  const [state, setState] = useState({ list, id: list.place.activeId });
  const activeId = state.list === list ? state.id : list.place.activeId;
  const set = (id: string | null): void => {
    list.remember({ activeId: id });
    setState({ list, id });
  };
  return {
    activeId,
    move: (by) => {
      const at = entries.findIndex(({ row }) => row.id === activeId);
      const next = entries[at < 0 ? 0 : Math.min(entries.length - 1, Math.max(0, at + by))];
      if (next) set(next.row.id);
    },
    leave: () => set(null),
  };
}
