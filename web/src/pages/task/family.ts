/** The descendants of a task, loaded where they are unfolded, and live. */
import { useCallback, useEffect, useRef, useState } from 'react';
import { useClient } from 'urql';
import { errorText } from '@/api/messages';
import type { TaskRowFragment } from '@/gql/graphql';
import { useReload } from '@/live/useReload';
import { useWatch } from '@/live/useWatch';
import { CHILD_CHANGES, CHILDREN } from './documents';

export type Member = TaskRowFragment;

/** The children of a task, as far as they are loaded. */
export interface Branch {
  members: readonly Member[];
  endCursor: string | null;
  hasMore: boolean;
  error: string | null;
}

type Branches = Readonly<Record<string, Branch>>;

// A filter has room for a hundred conditions.
const MAX_WATCHED = 90;

/** Returns the branches with a newer state of one task, wherever it is; the same object if it is nowhere. */
export function updated(branches: Branches, member: Member): Branches {
  return mapBranches(branches, member.id, (members) =>
    members.map((each) => (each.id === member.id && isNewer(member, each) ? member : each)),
  );
}

/** Returns the branches without a task. */
export const removed = (branches: Branches, id: string): Branches =>
  mapBranches(branches, id, (members) => members.filter((each) => each.id !== id));

const isNewer = (one: Member, other: Member): boolean =>
  one.isFinal === other.isFinal ? Date.parse(one.updatedAt) >= Date.parse(other.updatedAt) : one.isFinal;

function mapBranches(
  branches: Branches,
  id: string,
  change: (members: readonly Member[]) => readonly Member[],
): Branches {
  const found = Object.entries(branches).find(([, { members }]) => members.some((each) => each.id === id));
  if (!found) return branches;
  const [parent, branch] = found;
  return { ...branches, [parent]: { ...branch, members: change(branch.members) } };
}

/**
 * Returns a branch with a page that was loaded: the first page replaces what is there, another one continues it. A page
 * can be older than the events that came while it was loaded.
 */
export function withPage(before: Branch | undefined, page: Branch, isFirst: boolean): Branch {
  const known = new Map(before?.members.map((member) => [member.id, member]));
  const loaded = page.members.map((member) => {
    const other = known.get(member.id);
    return other && isNewer(other, member) ? other : member;
  });
  const ids = new Set(loaded.map(({ id }) => id));
  const kept = isFirst ? [] : (before?.members ?? []).filter(({ id }) => !ids.has(id));
  return { ...page, members: [...kept, ...loaded] };
}

export interface Family {
  branches: Branches;
  isOpen: (id: string) => boolean;
  toggle: (id: string) => void;
  loadMore: (id: string) => void;
  reload: (id: string) => void;
}

export function useFamily(root: string, since: string): Family {
  const client = useClient();
  const [branches, setBranches] = useState<Branches>({});
  const [opened, setOpened] = useState<readonly string[]>([root]);
  const [unknown, setUnknown] = useState(0);
  const known = useRef(branches);

  const change = useCallback((make: (before: Branches) => Branches) => {
    known.current = make(known.current);
    setBranches(known.current);
  }, []);
  const load = useCallback(
    async (id: string, after: string | null): Promise<void> => {
      const { data, error } = await client.query(CHILDREN, { id, after }).toPromise();
      const { nodes, pageInfo } = data?.task?.children ?? { nodes: [], pageInfo: null };
      change((before) => ({
        ...before,
        [id]: error
          ? { ...(before[id] ?? EMPTY), error: errorText(error) }
          : withPage(
              before[id],
              {
                members: nodes,
                endCursor: pageInfo?.endCursor ?? null,
                hasMore: pageInfo?.hasNextPage ?? false,
                error: null,
              },
              after === null,
            ),
      }));
    },
    [client, change],
  );
  useEffect(() => void load(root, null), [load, root]);
  useWatch({
    document: CHILD_CHANGES,
    variables: { filter: { OR: opened.slice(0, MAX_WATCHED).map((parentId) => ({ parentId })) }, since },
    onResult: ({ taskChanges: { kind, at, taskId, task } }) => {
      if (!task || kind !== 'UPDATED') change((before) => removed(before, taskId));
      else if (isKnown(known.current, taskId)) change((before) => updated(before, task));
      // A new child: an event does not name the parent.
      else setUnknown((before) => before + 1);
      return { since: at };
    },
  });
  useReload(unknown, () => {
    opened.forEach((id) => void load(id, null));
  });
  return {
    branches,
    isOpen: (id) => opened.includes(id),
    toggle: (id) => {
      if (!opened.includes(id) && !branches[id]) void load(id, null);
      setOpened(opened.includes(id) ? opened.filter((each) => each !== id) : [...opened, id]);
    },
    loadMore: (id) => void load(id, branches[id]?.endCursor ?? null),
    reload: (id) => void load(id, null),
  };
}

const EMPTY: Branch = { members: [], endCursor: null, hasMore: false, error: null };

const isKnown = (branches: Branches, id: string): boolean =>
  Object.values(branches).some(({ members }) => members.some((each) => each.id === id));
