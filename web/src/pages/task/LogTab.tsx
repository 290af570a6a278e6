import { ActionIcon, Badge, Button, Group, Select, Text, TextInput, Tooltip } from '@mantine/core';
import { IconArrowDown, IconDownload, IconSearch } from '@tabler/icons-react';
import { useMemo, useState } from 'react';
import { useSearchParams } from 'react-router';
import type { LogLevel } from '@/gql/graphql';
import { Panel } from '@/ui/Panel';
import { CopyButton } from '@/ui/CopyButton';
import { Problem } from '@/ui/Problem';
import { saveFile } from '@/ui/saveFile';
import { LogLines } from './LogLines';
import { type Line, MAX_LINES, useLog } from './useLog';

const LEVELS: Record<LogLevel, string> = {
  DEBUG: 'All levels',
  INFO: 'INFO and above',
  WARNING: 'WARNING and above',
  ERROR: 'ERROR',
};

const levelOf = (text: string | null): LogLevel =>
  text !== null && text in LEVELS ? (text as LogLevel) : 'INFO';

/** The log of the task, with its level and what is searched in the address. */
export function LogTab({ id, isFinal }: { id: string; isFinal: boolean }) {
  const [search, setSearch] = useSearchParams();
  const level = levelOf(search.get('level'));
  const find = search.get('find') ?? '';
  const set = (name: string, value: string): void =>
    setSearch(
      (before) => {
        if (value) before.set(name, value);
        else before.delete(name);
        return before;
      },
      { replace: true },
    );
  return (
    <Panel title="Log">
      <div>
        <Group gap="xs" mb="xs">
          <Select
            aria-label="Level"
            size="xs"
            w={165}
            allowDeselect={false}
            data={Object.entries(LEVELS).map(([value, label]) => ({ value, label }))}
            value={level}
            onChange={(value) => set('level', value === 'INFO' ? '' : (value ?? ''))}
          />
          <TextInput
            aria-label="Search the log"
            placeholder="Search"
            size="xs"
            flex={1}
            miw={120}
            leftSection={<IconSearch size={14} />}
            value={find}
            onChange={(event) => set('find', event.currentTarget.value)}
          />
        </Group>
        <Lines key={level} id={id} level={level} find={find} isFinal={isFinal} />
      </div>
    </Panel>
  );
}

interface LinesProps {
  id: string;
  level: LogLevel;
  find: string;
  isFinal: boolean;
}

const textOf = (lines: readonly Line[]): string =>
  lines.map(({ at, level, message }) => `${at} ${level} ${message}\n`).join('');

function Lines({ id, level, find, isFinal }: LinesProps) {
  const { lines, dropped, isComplete, refusal } = useLog(id, level);
  const [isFollowing, setFollowing] = useState(true);
  const found = useMemo(() => {
    const wanted = find.toLowerCase();
    return wanted ? lines.filter(({ message }) => message.toLowerCase().includes(wanted)) : lines;
  }, [lines, find]);
  return (
    <>
      <Group justify="space-between" mb={4} gap="xs">
        <Text size="xs" c="dimmed" role="status">
          {find ? `${found.length} of ${count(lines.length)}` : count(lines.length)}
          {dropped > 0 && `; the first ${dropped} are not kept here`}
        </Text>
        <Group gap={4}>
          {!isComplete && !isFinal && (
            <Badge size="sm" variant="light" color="green">
              Live
            </Badge>
          )}
          {!isFollowing && (
            <Button
              size="compact-xs"
              variant="light"
              leftSection={<IconArrowDown size={12} />}
              onClick={() => setFollowing(true)}
            >
              Follow the end
            </Button>
          )}
          <CopyButton label="Copy these lines" text={() => textOf(found)} />
          <Tooltip label="Download these lines">
            <ActionIcon
              variant="subtle"
              color="gray"
              size="sm"
              aria-label="Download these lines"
              onClick={() => saveFile(`${id}.log`, textOf(found), 'text/plain')}
            >
              <IconDownload size={14} />
            </ActionIcon>
          </Tooltip>
        </Group>
      </Group>
      {refusal !== null && <Problem text={refusal} />}
      {found.length === 0 ? (
        <Text size="sm" c="dimmed">
          {lines.length > 0
            ? 'No line has this text.'
            : isComplete
              ? 'It logged nothing at this level.'
              : 'No lines yet.'}
        </Text>
      ) : (
        <LogLines lines={found} find={find} isFollowing={isFollowing} onFollow={setFollowing} />
      )}
    </>
  );
}

const count = (lines: number): string =>
  `${lines.toLocaleString('en')}${lines >= MAX_LINES ? '+' : ''} ${lines === 1 ? 'line' : 'lines'}`;
