import { Button, Code, Group, ScrollArea, Text } from '@mantine/core';
import { IconChevronDown, IconChevronRight } from '@tabler/icons-react';
import { useState } from 'react';
import { useMay } from '@/access/viewer';
import { Panel } from '@/ui/Panel';
import { CopyButton } from '@/ui/CopyButton';
import { LongText } from '@/ui/json/LongText';
import { type TaskState, TRACEBACK } from './documents';
import { Loaded, Nothing } from './Values';

const TITLES: Partial<Record<TaskState['status'], string>> = {
  FAILURE: 'Error',
  REVOKED: 'Why it was revoked',
};

/** Why the task failed, was revoked or is to be retried; the traceback is there when it is unfolded. */
export function ErrorCard({ task }: { task: TaskState }) {
  const { error } = task;
  const mayRead = useMay('OPERATE');
  const [isOpen, setOpen] = useState(task.status === 'FAILURE');
  if (error === null) return null;
  return (
    <Panel
      title={TITLES[task.status] ?? 'Error of the last attempt'}
      actions={<CopyButton label="Copy the error" text={`${error.type}: ${error.message}`} />}
    >
      <div>
        <Text
          size="sm"
          ff="monospace"
          style={{ overflowWrap: 'anywhere', whiteSpace: 'pre-wrap' }}
          component="div"
        >
          <Text span fw={700} inherit c={task.status === 'FAILURE' ? 'red' : undefined}>
            {error.type}
          </Text>
          : <LongText text={error.message} />
        </Text>
        {mayRead && (
          <>
            <Button
              mt="xs"
              size="compact-sm"
              variant="subtle"
              aria-expanded={isOpen}
              leftSection={isOpen ? <IconChevronDown size={14} /> : <IconChevronRight size={14} />}
              onClick={() => setOpen(!isOpen)}
            >
              Traceback
            </Button>
            {isOpen && (
              <Loaded document={TRACEBACK} id={task.id} version={`${task.status} ${task.attempts}`}>
                {(loaded) => <Traceback text={loaded.task?.error?.traceback ?? null} />}
              </Loaded>
            )}
          </>
        )}
      </div>
    </Panel>
  );
}

function Traceback({ text }: { text: string | null }) {
  if (text === null) return <Nothing>The function raised nothing itself: there is no traceback.</Nothing>;
  return (
    <>
      <Group justify="flex-end">
        <CopyButton label="Copy the traceback" text={text} />
      </Group>
      <ScrollArea.Autosize mah={420} type="auto" viewportProps={{ tabIndex: 0, 'aria-label': 'Traceback' }}>
        <Code block>
          <LongText text={text} first={20_000} />
        </Code>
      </ScrollArea.Autosize>
    </>
  );
}
