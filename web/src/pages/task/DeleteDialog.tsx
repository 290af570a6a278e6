import { Code } from '@mantine/core';
import { Confirm } from '@/ui/confirm';
import { DELETE, type TaskState } from './documents';
import { useMutate } from './useMutate';

interface Props {
  task: TaskState;
  opened: boolean;
  onClose: () => void;
  onDeleted: () => void;
}

export function DeleteDialog({ task, opened, onClose, onDeleted }: Props) {
  const mutate = useMutate();
  const remove = async (): Promise<boolean> => {
    const payload = await mutate('Not deleted', DELETE, { id: task.id }, (result) => result.deleteTask);
    if (payload) onDeleted();
    return payload !== null;
  };
  return (
    <Confirm
      opened={opened}
      title="Delete this task?"
      action="Delete the task"
      onConfirm={remove}
      onClose={onClose}
    >
      <Code>{task.name}</Code> is deleted with its arguments, metadata, result, history and log. This cannot
      be undone.
    </Confirm>
  );
}
