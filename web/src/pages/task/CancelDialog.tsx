import { Checkbox, Stack, TextInput } from '@mantine/core';
import { notifications } from '@mantine/notifications';
import { useState } from 'react';
import { Confirm } from '@/ui/confirm';
import { CANCEL, type TaskState } from './documents';
import { useMutate } from './useMutate';

const MAX_REASON = 1_000;

interface Props {
  task: TaskState;
  offer: (state: TaskState) => void;
  opened: boolean;
  onClose: () => void;
}

export function CancelDialog({ task, offer, opened, onClose }: Props) {
  const mutate = useMutate();
  const [reason, setReason] = useState('');
  const [force, setForce] = useState(false);
  const [cascade, setCascade] = useState(false);
  const isRunning = task.status === 'STARTED';
  const isAsked = task.cancelRequestedAt !== null;
  const cancel = async (): Promise<boolean> => {
    const variables = { id: task.id, reason: reason || null, force: force && isRunning, cascade };
    const payload = await mutate('Not cancelled', CANCEL, variables, (result) => result.cancelTask);
    if (!payload?.task) return false;
    offer(payload.task);
    notifications.show({
      message: payload.task.isFinal ? 'The task is cancelled.' : 'The task was asked to stop.',
    });
    return true;
  };
  return (
    <Confirm
      opened={opened}
      title="Cancel this task?"
      action={force && isRunning ? 'Cancel by force' : 'Cancel the task'}
      onConfirm={cancel}
      onClose={onClose}
    >
      <Stack gap="sm">
        {isRunning
          ? isAsked
            ? 'The task was asked to stop and still runs. Force ends its process.'
            : 'The task runs. Its function is asked to stop, and may take its time.'
          : 'The task is not running, and will never run again.'}
        <TextInput
          label="Reason"
          description="Becomes the message of its error."
          value={reason}
          maxLength={MAX_REASON}
          onChange={(event) => setReason(event.currentTarget.value)}
        />
        {isRunning && (
          <Checkbox
            label="End its process by force"
            description="Within seconds, whatever the function does. Needs a worker with the prefork pool."
            checked={force}
            onChange={(event) => setForce(event.currentTarget.checked)}
          />
        )}
        <Checkbox
          label="Cancel its unfinished children too, and theirs"
          checked={cascade}
          onChange={(event) => setCascade(event.currentTarget.checked)}
        />
      </Stack>
    </Confirm>
  );
}
