/** The frame of every page: navigation, the state of the connection, the colour scheme, the command palette. */
import { AppShell, Burger, Group, NavLink, Text } from '@mantine/core';
import { useDisclosure } from '@mantine/hooks';
import { IconTerminal2 } from '@tabler/icons-react';
import { Suspense } from 'react';
import { Link, Outlet, useLocation } from 'react-router';
import { useViewer } from '@/access/viewer';
import { config } from '@/config';
import { Loading } from '@/ui/Loading';
import { ConnectionBadge } from './ConnectionBadge';
import { HeaderMenu } from './HeaderMenu';
import { PAGES } from './pages';
import { Palette } from './Palette';
import { useGlobalKeys } from './keys';
import { KeyHelp } from './KeyHelp';

export function Layout() {
  const [opened, { toggle, close }] = useDisclosure();
  const [helpOpened, help] = useDisclosure();
  useGlobalKeys(help.open);
  return (
    <AppShell
      header={{ height: 52 }}
      navbar={{ width: 210, breakpoint: 'sm', collapsed: { mobile: !opened } }}
      padding="md"
    >
      <AppShell.Header>
        <Group h="100%" px="md" justify="space-between" wrap="nowrap">
          <Group gap="sm" wrap="nowrap">
            <Burger opened={opened} onClick={toggle} hiddenFrom="sm" size="sm" aria-label="Navigation" />
            <Text fw={650} component={Link} to="/" c="inherit" td="none" truncate>
              {config.title}
            </Text>
          </Group>
          <Group gap="xs" wrap="nowrap">
            <ConnectionBadge />
            <HeaderMenu onHelp={help.open} />
          </Group>
        </Group>
      </AppShell.Header>
      <AppShell.Navbar p="xs">
        <Navigation onNavigate={close} />
      </AppShell.Navbar>
      <AppShell.Main>
        <Suspense fallback={<Loading />}>
          <Outlet />
        </Suspense>
      </AppShell.Main>
      <Palette />
      <KeyHelp opened={helpOpened} onClose={help.close} />
    </AppShell>
  );
}

function Navigation({ onNavigate }: { onNavigate: () => void }) {
  const { pathname } = useLocation();
  const { scopes } = useViewer();
  return (
    <>
      {PAGES.filter(({ scope }) => scopes.includes(scope)).map(({ path, title, icon: Icon }) => (
        <NavLink
          key={path}
          component={Link}
          to={path}
          label={title}
          leftSection={<Icon size={18} />}
          active={path === '/' ? pathname === '/' : pathname.startsWith(path)}
          onClick={onNavigate}
        />
      ))}
      {config.playground && (
        <NavLink
          component="a"
          href={config.path}
          label="Playground"
          leftSection={<IconTerminal2 size={18} />}
        />
      )}
    </>
  );
}
