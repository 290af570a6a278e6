import { ActionIcon, Menu, Tooltip, useComputedColorScheme, useMantineColorScheme } from '@mantine/core';
import { spotlight } from '@mantine/spotlight';
import { IconKeyboard, IconLogout, IconMoon, IconSearch, IconSun, IconUser } from '@tabler/icons-react';
import { leave, useAccess } from '@/access/token';
import { useViewer } from '@/access/viewer';

export function HeaderMenu({ onHelp }: { onHelp: () => void }) {
  return (
    <>
      <Tooltip label="Commands (Ctrl + K)">
        <ActionIcon variant="subtle" color="gray" aria-label="Commands" onClick={() => spotlight.open()}>
          <IconSearch size={18} />
        </ActionIcon>
      </Tooltip>
      <Tooltip label="Keys (?)">
        <ActionIcon variant="subtle" color="gray" aria-label="Keys" onClick={onHelp} visibleFrom="sm">
          <IconKeyboard size={18} />
        </ActionIcon>
      </Tooltip>
      <SchemeButton />
      <AccessMenu />
    </>
  );
}

function SchemeButton() {
  const { setColorScheme } = useMantineColorScheme();
  const other = useComputedColorScheme('light') === 'light' ? 'dark' : 'light';
  return (
    <Tooltip label={`Use the ${other} colours`}>
      <ActionIcon
        variant="subtle"
        color="gray"
        aria-label={`Use the ${other} colours`}
        onClick={() => setColorScheme(other)}
      >
        {other === 'dark' ? <IconMoon size={18} /> : <IconSun size={18} />}
      </ActionIcon>
    </Tooltip>
  );
}

function AccessMenu() {
  const { token } = useAccess();
  const { subject, scopes } = useViewer();
  if (token === null) return null;
  return (
    <Menu position="bottom-end">
      <Menu.Target>
        <ActionIcon variant="subtle" color="gray" aria-label="Your access">
          <IconUser size={18} />
        </ActionIcon>
      </Menu.Target>
      <Menu.Dropdown>
        <Menu.Label>{subject ?? 'A token without a subject'}</Menu.Label>
        <Menu.Label>{scopes.join(', ')}</Menu.Label>
        <Menu.Item leftSection={<IconLogout size={16} />} onClick={leave}>
          Forget the token
        </Menu.Item>
      </Menu.Dropdown>
    </Menu>
  );
}
