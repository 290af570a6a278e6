/** What can be done with a task in its state, if the caller's scopes allow it. */
import { useViewer } from '@/access/viewer';
import type { TaskState } from './documents';

export interface May {
  cancel: boolean;
  replay: boolean;
  reschedule: boolean;
  delete: boolean;
}

type State = Pick<TaskState, 'status' | 'isFinal' | 'attempts'>;

/** Returns what the API accepts in a state. A later step of a chain cannot be rescheduled, which only the API knows. */
export const possible = ({ status, isFinal, attempts }: State): May => ({
  cancel: !isFinal,
  replay: true,
  reschedule: (status === 'SCHEDULED' || status === 'QUEUED') && attempts === 0,
  delete: isFinal,
});

export function useMayDo(task: State): May {
  const { scopes } = useViewer();
  const can = possible(task);
  const mayControl = scopes.includes('TASKS_CONTROL');
  return {
    cancel: can.cancel && mayControl,
    replay: can.replay && scopes.includes('TASKS_CREATE'),
    reschedule: can.reschedule && mayControl,
    delete: can.delete && mayControl,
  };
}
