import { Anchor } from '@mantine/core';
import { notifications } from '@mantine/notifications';
import { useNavigate } from 'react-router';
import { Confirm } from '@/ui/confirm';
import { taskPath } from '@/ui/paths';
import { REPLAY, type TaskState } from './documents';
import { useMutate } from './useMutate';

interface Props {
  task: TaskState;
  opened: boolean;
  onClose: () => void;
  onEdit: () => void;
}

export function ReplayDialog({ task, opened, onClose, onEdit }: Props) {
  const mutate = useMutate();
  const navigate = useNavigate();
  const replay = async (): Promise<boolean> => {
    const payload = await mutate('Not replayed', REPLAY, { id: task.id }, (result) => result.replayTask);
    if (!payload?.task) return false;
    notifications.show({ message: `This is the replay of ${task.name}.` });
    void navigate(taskPath(payload.task.id));
    return true;
  };
  return (
    <Confirm
      opened={opened}
      title="Replay this task?"
      action="Replay as it was"
      color="blue"
      dismiss="Do not replay"
      onConfirm={replay}
      onClose={onClose}
    >
      A new task with the same name, arguments, metadata, queue and priority starts at once.{' '}
      {!task.isFinal && 'This one has not ended: both may run at the same time. '}
      <Anchor component="button" type="button" size="sm" onClick={onEdit}>
        Change arguments or metadata first
      </Anchor>
    </Confirm>
  );
}
