import { ActionIcon, Button, Group, NavLink, Popover, Stack, Text, TextInput } from '@mantine/core';
import { IconBookmark, IconPencil, IconTrash } from '@tabler/icons-react';
import { useState } from 'react';
import { useLocation, useNavigate } from 'react-router';
import { deleteView, renameView, saveView, useViews, type View } from './views';

const SUGGESTED = [
  { name: 'Failed in the last day', search: '?q=status%3AFAILURE+finished%3A%3C24h&order=finished' },
  { name: 'Running now', search: '?q=status%3ASTARTED' },
  { name: 'Waiting longest', search: '?q=status%3AQUEUED&order=oldest' },
];

const MAX_NAME = 60;

/** Saved searches with their columns and order. */
export function ViewsMenu() {
  const [opened, setOpened] = useState(false);
  const views = useViews();
  const navigate = useNavigate();
  const open = (search: string): void => {
    void navigate({ pathname: '/tasks', search });
    setOpened(false);
  };
  return (
    <Popover opened={opened} onChange={setOpened} position="bottom-end" width={300} trapFocus>
      <Popover.Target>
        <Button
          variant="default"
          size="xs"
          px="xs"
          leftSection={<IconBookmark size={16} />}
          onClick={() => setOpened(!opened)}
        >
          Views
        </Button>
      </Popover.Target>
      <Popover.Dropdown aria-label="Views">
        <Stack gap={4}>
          {SUGGESTED.map(({ name, search }) => (
            <NavLink key={name} component="button" label={name} onClick={() => open(search)} />
          ))}
          {views.length > 0 && (
            <Text size="xs" c="dimmed" mt="xs">
              Saved in this browser
            </Text>
          )}
          {views.map((view) => (
            <SavedView key={view.name} view={view} names={views.map(({ name }) => name)} onOpen={open} />
          ))}
          <SaveForm names={views.map(({ name }) => name)} />
        </Stack>
      </Popover.Dropdown>
    </Popover>
  );
}

interface SavedViewProps {
  view: View;
  names: readonly string[];
  onOpen: (search: string) => void;
}

function SavedView({ view: { name, search }, names, onOpen }: SavedViewProps) {
  const [isRenamed, setRenamed] = useState(false);
  if (isRenamed) return <RenameForm name={name} names={names} onEnd={() => setRenamed(false)} />;
  return (
    <Group gap={4} wrap="nowrap">
      <NavLink component="button" label={name} onClick={() => onOpen(search)} />
      <ActionIcon
        variant="subtle"
        color="gray"
        aria-label={`Rename the view ${name}`}
        onClick={() => setRenamed(true)}
      >
        <IconPencil size={16} />
      </ActionIcon>
      <ActionIcon
        variant="subtle"
        color="gray"
        aria-label={`Delete the view ${name}`}
        onClick={() => deleteView(name)}
      >
        <IconTrash size={16} />
      </ActionIcon>
    </Group>
  );
}

interface RenameFormProps {
  name: string;
  names: readonly string[];
  onEnd: () => void;
}

function RenameForm({ name, names, onEnd }: RenameFormProps) {
  const [text, setText] = useState(name);
  const next = text.trim();
  const isTaken = next !== name && names.includes(next);
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        if (!next || isTaken) return;
        renameView(name, next);
        onEnd();
      }}
    >
      <Group gap={6} align="start" wrap="nowrap">
        <TextInput
          aria-label={`New name of the view ${name}`}
          size="xs"
          flex={1}
          value={text}
          maxLength={MAX_NAME}
          error={isTaken ? 'Another view has this name.' : null}
          autoFocus
          onChange={(event) => setText(event.currentTarget.value)}
        />
        <Button type="submit" size="xs" disabled={!next || isTaken}>
          Rename
        </Button>
      </Group>
    </form>
  );
}

function SaveForm({ names }: { names: readonly string[] }) {
  const [name, setName] = useState('');
  const { search } = useLocation();
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        if (!name.trim()) return;
        saveView({ name: name.trim(), search });
        setName('');
      }}
    >
      <Group gap={6} mt="xs" align="end" wrap="nowrap">
        <TextInput
          label="Save this view as"
          size="xs"
          flex={1}
          value={name}
          maxLength={MAX_NAME}
          onChange={(event) => setName(event.currentTarget.value)}
        />
        <Button type="submit" size="xs" disabled={!name.trim()}>
          {names.includes(name.trim()) ? 'Replace' : 'Save'}
        </Button>
      </Group>
    </form>
  );
}
