/** Which tasks the actions are for: those that are selected, else the active one, else all that the filter finds. */
import { notifications } from '@mantine/notifications';
import { useMay } from '@/access/viewer';
import { filtersOf } from '@/bulk/run';
import type { Action, BulkActions, Target } from '@/bulk/useBulk';
import type { TaskList } from './list/TaskList';

interface Chosen {
  list: TaskList;
  selected: ReadonlySet<string>;
  activeId: string | null;
  /** Why the filter is not what is written in the search bar. */
  problems: readonly string[];
}

export interface TaskActions {
  allowed: readonly Action[];
  name: string;
  ask: (action: Action) => void;
}

export function useTaskActions(
  { list, selected, activeId, problems }: Chosen,
  bulk: BulkActions,
): TaskActions {
  const [mayControl, mayCreate] = [useMay('TASKS_CONTROL'), useMay('TASKS_CREATE')];
  const allowed: Action[] = [
    ...(mayControl ? (['cancel'] as const) : []),
    ...(mayCreate ? (['replay'] as const) : []),
    ...(mayControl ? (['delete'] as const) : []),
  ];
  const ids = selected.size > 0 ? [...selected] : activeId === null ? [] : [activeId];
  const name = nameOf(selected.size, activeId);
  const target = (): Target => {
    if (ids.length > 0) return { name, filters: filtersOf(ids), isEverything: false };
    const { written } = list.spec;
    return {
      name,
      filters: [written],
      isEverything: written.literal === null && Object.keys(written.filter).length === 0,
    };
  };
  return {
    allowed,
    name,
    ask: (action) => {
      if (!allowed.includes(action)) return;
      if (ids.length === 0 && problems.length > 0) {
        notifications.show({
          color: 'red',
          title: 'The search has a mistake',
          message: 'Mend it first: as it is, the action would be for more tasks than you mean.',
        });
        return;
      }
      bulk.ask(action, target());
    },
  };
}

function nameOf(count: number, activeId: string | null): string {
  if (count === 1) return 'the selected task';
  if (count > 1) return `the ${count} selected tasks`;
  return activeId === null ? 'all tasks that match' : `the task ${activeId}`;
}
