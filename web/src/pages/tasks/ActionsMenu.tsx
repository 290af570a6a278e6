import { Button, Menu } from '@mantine/core';
import { IconChevronDown, IconPlayerStop, IconRepeat, IconTrash } from '@tabler/icons-react';
import type { Action } from '@/bulk/useBulk';

const ITEMS = [
  { action: 'cancel', verb: 'Cancel', icon: IconPlayerStop, key: 'c' },
  { action: 'replay', verb: 'Replay', icon: IconRepeat, key: 'r' },
  { action: 'delete', verb: 'Delete', icon: IconTrash, key: '' },
] as const;

interface Props {
  /** What the actions are for, like "all that match". */
  name: string;
  allowed: readonly Action[];
  onAction: (action: Action) => void;
}

export function ActionsMenu({ name, allowed, onAction }: Props) {
  if (allowed.length === 0) return null;
  return (
    <Menu position="bottom-end">
      <Menu.Target>
        <Button size="xs" px="xs" variant="default" rightSection={<IconChevronDown size={14} />}>
          Actions
        </Button>
      </Menu.Target>
      <Menu.Dropdown>
        <Menu.Label>{`For ${name}; a count comes first`}</Menu.Label>
        {ITEMS.filter(({ action }) => allowed.includes(action)).map(({ action, verb, icon: Icon, key }) => (
          <Menu.Item
            key={action}
            leftSection={<Icon size={16} />}
            rightSection={key}
            color={action === 'delete' ? 'red' : undefined}
            onClick={() => onAction(action)}
          >
            {`${verb}…`}
          </Menu.Item>
        ))}
      </Menu.Dropdown>
    </Menu>
  );
}
