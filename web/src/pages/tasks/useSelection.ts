/** The tasks that somebody has chosen one by one. */
import { useMemo, useState } from 'react';

export interface Selection {
  ids: ReadonlySet<string>;
  toggle: (id: string) => void;
  set: (ids: Iterable<string>) => void;
  clear: () => void;
}

/** Begins anew with another key: what is not on the screen must not be cancelled. */
export function useSelection(key: string): Selection {
  const [state, setState] = useState<{ key: string; ids: ReadonlySet<string> }>({ key, ids: new Set() });
  const ids = state.key === key ? state.ids : NONE;
  return useMemo(
    () => ({
      ids,
      toggle: (id) =>
        setState((now) => {
          const next = new Set(now.key === key ? now.ids : NONE);
          if (!next.delete(id)) next.add(id);
          return { key, ids: next };
        }),
      set: (chosen) => setState({ key, ids: new Set(chosen) }),
      clear: () => setState({ key, ids: NONE }),
    }),
    [ids, key],
  );
}

const NONE: ReadonlySet<string> = new Set();
