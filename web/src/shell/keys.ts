/** The keys that work on every page. Those of lists and of a task are in their own pages. */
import { useHotkeys } from '@mantine/hooks';
import { useNavigate } from 'react-router';
import { useViewer } from '@/access/viewer';

interface Key {
  keys: string;
  does: string;
}

export const KEYS: readonly Key[] = [
  { keys: '?', does: 'Show the keys' },
  { keys: 'Ctrl + K', does: 'Find a page, a command or a task' },
  { keys: 'o', does: 'Go to the overview' },
  { keys: 't', does: 'Go to the tasks' },
  { keys: 'n', does: 'Create a task' },
  { keys: '/', does: 'Search (in the tasks)' },
  { keys: 'j  k', does: 'Next and previous task (in a list)' },
  { keys: 'Enter', does: 'Open the task (in a list)' },
  { keys: 'x', does: 'Select or deselect the task (in a list)' },
  { keys: 'c', does: 'Cancel the task; in a list, those that are selected, or all that match' },
  { keys: 'r', does: 'Replay the task; in a list, those that are selected, or all that match' },
  { keys: 'p', does: 'Pause or continue live updates (in the tasks)' },
  { keys: 'Esc', does: 'Close a dialog; in a list, deselect all' },
];

export function useGlobalKeys(onHelp: () => void): void {
  const navigate = useNavigate();
  const { scopes } = useViewer();
  useHotkeys([
    ['shift+?', onHelp, { usePhysicalKeys: false }],
    ['?', onHelp],
    ['o', () => void navigate('/')],
    ['t', () => void navigate('/tasks')],
    ['n', () => scopes.includes('TASKS_CREATE') && void navigate('/create')],
  ]);
}
