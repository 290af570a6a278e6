import { notifications } from '@mantine/notifications';
import { useState } from 'react';
import { Confirm } from '@/ui/confirm';
import { browserZone, rfc3339, zoned } from '@/ui/zonedTime';
import { ZonedTimeInput } from '@/ui/ZonedTimeInput';
import { RESCHEDULE, type TaskState } from './documents';
import { showFailure, useMutate } from './useMutate';

const HOUR_MS = 3_600_000;

interface Props {
  task: TaskState;
  offer: (state: TaskState) => void;
  onClose: () => void;
}

/** Changes the start time. What is chosen stays while the task changes. */
export function RescheduleDialog({ task, offer, onClose }: Props) {
  const mutate = useMutate();
  const [time, setTime] = useState(() =>
    zoned(
      task.status === 'SCHEDULED' && task.scheduledFor ? Date.parse(task.scheduledFor) : Date.now() + HOUR_MS,
      browserZone(),
    ),
  );
  const reschedule = async (): Promise<boolean> => {
    const scheduledFor = rfc3339(time);
    if (scheduledFor === null) {
      showFailure('Not rescheduled', 'Enter a date and a time.');
      return false;
    }
    const variables = { id: task.id, scheduledFor };
    const payload = await mutate('Not rescheduled', RESCHEDULE, variables, (result) => result.rescheduleTask);
    if (!payload?.task) return false;
    offer(payload.task);
    notifications.show({ message: 'The task is rescheduled.' });
    return true;
  };
  return (
    <Confirm
      opened
      title="Reschedule this task"
      action="Reschedule"
      color="blue"
      dismiss="Keep the start time"
      onConfirm={reschedule}
      onClose={onClose}
    >
      <ZonedTimeInput label="Start time" value={time} onChange={setTime} />A past time starts it at once. If
      it expires, its expiry moves along.
    </Confirm>
  );
}
