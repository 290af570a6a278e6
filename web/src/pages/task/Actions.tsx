/** What can be done with a task: buttons, keys and commands of the palette, each with a dialog before it acts. */
import { Button, Group, Menu } from '@mantine/core';
import { useHotkeys } from '@mantine/hooks';
import {
  IconCalendarTime,
  IconChevronDown,
  IconHandStop,
  IconPencil,
  IconRotateClockwise,
  IconTrash,
} from '@tabler/icons-react';
import { useState } from 'react';
import { useNavigate } from 'react-router';
import { type Command, useCommands } from '@/shell/commands';
import { copy } from '@/ui/copy';
import { replayPath } from '@/ui/paths';
import { CancelDialog } from './CancelDialog';
import { DeleteDialog } from './DeleteDialog';
import type { TaskState } from './documents';
import { useMayDo } from './may';
import { ReplayDialog } from './ReplayDialog';
import { RescheduleDialog } from './RescheduleDialog';

type Dialog = 'cancel' | 'replay' | 'reschedule' | 'delete';

interface Props {
  task: TaskState;
  offer: (state: TaskState) => void;
  onDeleted: () => void;
}

export function Actions({ task, offer, onDeleted }: Props) {
  const [dialog, setDialog] = useState<Dialog | null>(null);
  const navigate = useNavigate();
  const may = useMayDo(task);
  const open = (next: Dialog) => () => setDialog(next);
  const close = (): void => setDialog(null);
  const edit = (): void => void navigate(replayPath(task.id));

  useHotkeys([
    ['c', () => may.cancel && setDialog('cancel')],
    ['r', () => may.replay && setDialog('replay')],
  ]);
  const commands: (Command | false)[] = [
    may.cancel && { id: 'task-cancel', label: 'Cancel this task', run: open('cancel') },
    may.replay && { id: 'task-replay', label: 'Replay this task', run: open('replay') },
    may.replay && { id: 'task-edit', label: 'Replay this task with other arguments', run: edit },
    may.reschedule && { id: 'task-reschedule', label: 'Reschedule this task', run: open('reschedule') },
    may.delete && { id: 'task-delete', label: 'Delete this task', run: open('delete') },
    { id: 'task-copy', label: 'Copy the id of this task', run: () => void copy(task.id) },
  ];
  useCommands(commands.filter((each) => each !== false));
  return (
    <Group gap="xs">
      {may.cancel && (
        <Button
          size="xs"
          color="red"
          variant="light"
          leftSection={<IconHandStop size={16} />}
          onClick={open('cancel')}
        >
          Cancel
        </Button>
      )}
      {may.reschedule && (
        <Button
          size="xs"
          variant="default"
          leftSection={<IconCalendarTime size={16} />}
          onClick={open('reschedule')}
        >
          Reschedule
        </Button>
      )}
      {may.replay && (
        <Menu position="bottom-end">
          <Menu.Target>
            <Button
              size="xs"
              variant="default"
              leftSection={<IconRotateClockwise size={16} />}
              rightSection={<IconChevronDown size={14} />}
            >
              Replay
            </Button>
          </Menu.Target>
          <Menu.Dropdown>
            <Menu.Item leftSection={<IconRotateClockwise size={16} />} onClick={open('replay')}>
              As it was
            </Menu.Item>
            <Menu.Item leftSection={<IconPencil size={16} />} onClick={edit}>
              With other arguments…
            </Menu.Item>
          </Menu.Dropdown>
        </Menu>
      )}
      {may.delete && (
        <Button
          size="xs"
          color="red"
          variant="light"
          leftSection={<IconTrash size={16} />}
          onClick={open('delete')}
        >
          Delete
        </Button>
      )}
      {/* A dialog that is open stays when the task changes meanwhile: the API says whether it is still possible. */}
      <CancelDialog task={task} offer={offer} opened={dialog === 'cancel'} onClose={close} />
      <ReplayDialog task={task} opened={dialog === 'replay'} onClose={close} onEdit={edit} />
      {dialog === 'reschedule' && <RescheduleDialog task={task} offer={offer} onClose={close} />}
      <DeleteDialog task={task} opened={dialog === 'delete'} onClose={close} onDeleted={onDeleted} />
    </Group>
  );
}
