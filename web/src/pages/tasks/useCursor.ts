/** The active row, which the keyboard moves. */
import { useState } from 'react';
import type { TaskList } from './list/TaskList';

export interface Cursor {
  activeId: string | null;
  move: (by: 1 | -1) => void;
  leave: () => void;
}

export function useCursor(list: TaskList): Cursor {
  const [state, setState] = useState({ list, id: list.place.activeId });
  const activeId = state.list === list ? state.id : list.place.activeId;
  const set = (id: string | null): void => {
    list.remember({ activeId: id });
    setState({ list, id });
  };
  return {
    activeId,
    move: (by) => {
      const { entries } = list.getState().contents;
      const at = activeId === null ? -1 : entries.indexOf(activeId);
      const next = entries.at(at < 0 ? 0 : Math.min(entries.length - 1, Math.max(0, at + by)));
      if (next) set(next.row.id);
    },
    leave: () => set(null),
  };
}
