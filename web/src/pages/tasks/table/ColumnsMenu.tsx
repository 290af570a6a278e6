/** The choice and the order of columns. */
import { ActionIcon, Button, Group, Popover, Stack, Text, TextInput } from '@mantine/core';
import { IconArrowDown, IconArrowUp, IconColumns3, IconPlus, IconX } from '@tabler/icons-react';
import { useState } from 'react';
import { COLUMNS, columnsOf, DEFAULT_COLUMNS, isExtra } from './columns';

interface Props {
  columns: readonly string[];
  onChange: (columns: readonly string[]) => void;
}

export function ColumnsMenu({ columns, onChange }: Props) {
  const others = COLUMNS.filter(({ id }) => !columns.includes(id));
  return (
    <Popover position="bottom-end" width={300} trapFocus>
      <Popover.Target>
        <Button variant="default" size="xs" px="xs" leftSection={<IconColumns3 size={16} />}>
          Columns
        </Button>
      </Popover.Target>
      <Popover.Dropdown aria-label="Columns" mah="70vh" style={{ overflowY: 'auto' }}>
        <Stack gap={4}>
          {columnsOf(columns).map((column, index) => (
            <Chosen
              key={column.id}
              title={column.title}
              index={index}
              columns={columns}
              onChange={onChange}
            />
          ))}
          <ExtraForm columns={columns} onChange={onChange} />
          <Group gap={4} mt="xs">
            {others.map(({ id, title }) => (
              <Button
                key={id}
                size="compact-xs"
                variant="default"
                leftSection={<IconPlus size={12} />}
                onClick={() => onChange([...columns, id])}
              >
                {title}
              </Button>
            ))}
          </Group>
          <Button size="compact-sm" variant="subtle" mt="xs" onClick={() => onChange(DEFAULT_COLUMNS)}>
            Default columns
          </Button>
        </Stack>
      </Popover.Dropdown>
    </Popover>
  );
}

function Chosen({ title, index, columns, onChange }: Props & { title: string; index: number }) {
  const move = (by: number): void => {
    const next = [...columns];
    const [moved] = next.splice(index, 1);
    if (moved !== undefined) next.splice(index + by, 0, moved);
    onChange(next);
  };
  return (
    <Group gap={2} wrap="nowrap">
      <Text size="sm" flex={1} truncate>
        {title}
      </Text>
      <Tool label={`Move ${title} to the left`} isOff={index === 0} onClick={() => move(-1)}>
        <IconArrowUp size={14} />
      </Tool>
      <Tool label={`Move ${title} to the right`} isOff={index === columns.length - 1} onClick={() => move(1)}>
        <IconArrowDown size={14} />
      </Tool>
      <Tool
        label={`Remove ${title}`}
        isOff={columns.length === 1}
        onClick={() => onChange(columns.filter((_, at) => at !== index))}
      >
        <IconX size={14} />
      </Tool>
    </Group>
  );
}

interface ToolProps {
  label: string;
  isOff: boolean;
  onClick: () => void;
  children: React.ReactNode;
}

function Tool({ label, isOff, onClick, children }: ToolProps) {
  return (
    <ActionIcon size="sm" variant="subtle" color="gray" aria-label={label} disabled={isOff} onClick={onClick}>
      {children}
    </ActionIcon>
  );
}

function ExtraForm({ columns, onChange }: Props) {
  const [text, setText] = useState('');
  const id = text.trim();
  const error = id !== '' && !isExtra(id) ? 'Begin with metadata., kwargs. or progress.' : null;
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        if (!isExtra(id) || columns.includes(id)) return;
        onChange([...columns, id]);
        setText('');
      }}
    >
      <Group gap={6} align="start" wrap="nowrap" mt="xs">
        <TextInput
          size="xs"
          flex={1}
          aria-label="A column from metadata, kwargs or progress"
          placeholder="metadata.customer.tier"
          value={text}
          error={text.length > 9 ? error : null}
          onChange={(event) => setText(event.currentTarget.value)}
        />
        <Button type="submit" size="xs" disabled={!isExtra(id)}>
          Add
        </Button>
      </Group>
    </form>
  );
}
