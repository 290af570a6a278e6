import { Alert, Anchor, Button, Code, ScrollArea, Stack, Text } from '@mantine/core';
import { IconAlertTriangle, IconPlus } from '@tabler/icons-react';
import { Link } from 'react-router';
import { useMay } from '@/access/viewer';
import type { Refreshed } from '@/live/useRefreshed';
import { CopyButton } from '@/ui/CopyButton';
import { DetailHead } from '@/ui/DetailHead';
import { Facts } from '@/ui/Facts';
import { Panel } from '@/ui/Panel';
import { createPath, queuePath, tasksPath } from '@/ui/paths';
import { WorkerCount } from './DefinitionTable';
import { type Definition, retriesText, timeLimitText } from './definitions';
import { ParameterTable } from './ParameterTable';

interface Props {
  name: string;
  definitions: Refreshed<readonly Definition[]>;
}

const BACK = { to: '/definitions', label: 'All task definitions' };

/** One task function. A name that no worker has announced is shown as what it is. */
export function DefinitionDetail({ name, definitions: { data, problem, refresh } }: Props) {
  const definition = data?.find((each) => each.name === name);
  return (
    <Stack>
      <DetailHead title={name} back={BACK}>
        <Links name={name} isKnown={definition !== undefined} />
      </DetailHead>
      <Panel title="Task function" isLoading={data === null} problem={problem} onRetry={refresh}>
        {definition ? (
          <About definition={definition} />
        ) : (
          <Text size="sm">No worker has announced a task function with this name.</Text>
        )}
      </Panel>
      {definition && <Input definition={definition} />}
    </Stack>
  );
}

function Links({ name, isKnown }: { name: string; isKnown: boolean }) {
  const mayCreate = useMay('TASKS_CREATE');
  const mayRead = useMay('TASKS_READ');
  return (
    <>
      {mayRead && (
        <Button component={Link} to={tasksPath({ name })} variant="default" size="compact-sm">
          Its tasks
        </Button>
      )}
      {mayCreate && isKnown && (
        <Button component={Link} to={createPath(name)} size="compact-sm" leftSection={<IconPlus size={14} />}>
          Create a task
        </Button>
      )}
    </>
  );
}

function About({ definition }: { definition: Definition }) {
  const { description, queue, maxRetries, timeLimit, workers } = definition;
  return (
    <>
      {workers === 0 && (
        <Alert color="orange" icon={<IconAlertTriangle size={18} />}>
          No live worker can run it: its tasks wait until one starts.
        </Alert>
      )}
      <Text size="sm" style={{ whiteSpace: 'pre-wrap', overflowWrap: 'anywhere' }}>
        {description ?? 'The function has no docstring.'}
      </Text>
      <Facts
        facts={[
          [
            'Queue',
            <Anchor key="queue" component={Link} to={queuePath(queue)} inherit>
              {queue}
            </Anchor>,
          ],
          ['Retries', retriesText(maxRetries)],
          ['Time limit of an attempt', timeLimitText(timeLimit)],
          ['Workers that can run it', <WorkerCount key="workers" workers={workers} />],
        ]}
      />
    </>
  );
}

function Input({ definition: { inputSchema, redact } }: { definition: Definition }) {
  const text = JSON.stringify(inputSchema, null, 2);
  return (
    <>
      <Panel title="Parameters">
        <ParameterTable inputSchema={inputSchema} />
        {redact.length > 0 && (
          <Text size="sm">
            Shown as [REDACTED]: <Code>{redact.join(', ')}</Code>
          </Text>
        )}
      </Panel>
      <Panel title="JSON Schema" actions={<CopyButton text={text} label="Copy the JSON Schema" />}>
        <ScrollArea.Autosize
          mah={400}
          viewportProps={{ tabIndex: 0, role: 'group', 'aria-label': 'JSON Schema' }}
        >
          <Code block>{text}</Code>
        </ScrollArea.Autosize>
      </Panel>
    </>
  );
}
