import { Button, Group, SegmentedControl, SimpleGrid, Stack, TextInput } from '@mantine/core';
import { Panel } from '@/ui/Panel';
import { ZonedTimeInput } from '@/ui/ZonedTimeInput';
import { JsonInput } from './ArgumentsCard';
import type { Draft, Problems } from './draft';
import { randomKey } from './randomKey';

interface Props {
  draft: Draft;
  problems: Problems;
  /** The queue of the task function; null if it is not known. */
  queue: string | null;
  set: (change: Partial<Draft>) => void;
}

/** When, where and how the task runs. */
export function OptionsCard({ draft, problems, queue, set }: Props) {
  const text = (name: TextField, label: string, description: string) => (
    <TextInput
      label={label}
      description={description}
      value={draft[name]}
      error={problems[name]}
      onChange={(event) => set({ [name]: event.currentTarget.value })}
    />
  );
  return (
    <Panel title="Options">
      <Stack gap="sm">
        <Start draft={draft} problems={problems} set={set} />
        <SimpleGrid cols={{ base: 1, sm: 2 }} spacing="sm">
          {text('queue', 'Queue', queue === null ? 'The function’s own if empty' : `${queue} if empty`)}
          {text('priority', 'Priority', 'From 0 (runs first) to 9 (runs last)')}
          {text('expiresInSeconds', 'Expires after (seconds)', 'Unless it has started; never if empty')}
          {text('timeLimitSeconds', 'Time limit (seconds)', 'For each attempt; the function’s own if empty')}
          {text('parentId', 'Parent', 'The id of an existing task')}
        </SimpleGrid>
        <JsonInput
          label="Positional arguments as JSON"
          description="A JSON array, for parameters that have no name"
          value={draft.args}
          error={problems.args}
          onChange={(args) => set({ args })}
        />
        <Group align="end" gap="xs" wrap="nowrap">
          <TextInput
            flex={1}
            label="Idempotency key"
            description="The same key with the same input creates the task once only"
            value={draft.idempotencyKey}
            error={problems.idempotencyKey}
            onChange={(event) => set({ idempotencyKey: event.currentTarget.value })}
          />
          <Button variant="default" onClick={() => set({ idempotencyKey: randomKey() })}>
            Generate
          </Button>
        </Group>
      </Stack>
    </Panel>
  );
}

type TextField = 'queue' | 'priority' | 'expiresInSeconds' | 'timeLimitSeconds' | 'parentId';

function Start({ draft, problems, set }: Omit<Props, 'queue'>) {
  return (
    <Stack gap="xs">
      <SegmentedControl
        aria-label="Start"
        value={draft.start}
        onChange={(start) => set({ start })}
        data={[
          { value: 'now', label: 'Now' },
          { value: 'time', label: 'At a time' },
          { value: 'delay', label: 'After a delay' },
        ]}
      />
      {draft.start === 'time' && (
        <ZonedTimeInput
          label="Start time"
          value={draft.time}
          error={problems.scheduledFor}
          onChange={(time) => set({ time })}
        />
      )}
      {draft.start === 'delay' && (
        <TextInput
          label="Delay (seconds)"
          value={draft.delaySeconds}
          error={problems.delaySeconds}
          onChange={(event) => set({ delaySeconds: event.currentTarget.value })}
        />
      )}
    </Stack>
  );
}
