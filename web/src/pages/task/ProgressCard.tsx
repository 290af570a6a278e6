import { Button, Group, Progress, Text } from '@mantine/core';
import { useState } from 'react';
import { Panel } from '@/ui/Panel';
import { JsonValue } from '@/ui/json/JsonValue';
import { PROGRESS_DATA, type TaskState } from './documents';
import { Loaded, Nothing } from './Values';

const NUMBER = new Intl.NumberFormat(undefined, { maximumFractionDigits: 2 });

/** The last progress report of the running or last attempt. */
export function ProgressCard({ task }: { task: TaskState }) {
  const [hasData, setData] = useState(false);
  const { progress } = task;
  if (progress === null) return null;
  const { current, total, percent, message } = progress;
  return (
    <Panel
      title="Progress"
      actions={
        <Button size="compact-xs" variant="subtle" onClick={() => setData(!hasData)} aria-expanded={hasData}>
          {hasData ? 'Hide other values' : 'Other values'}
        </Button>
      }
    >
      <div>
        {percent !== null && (
          <Progress.Root size="lg" mb={6}>
            <Progress.Section
              value={percent}
              animated={task.status === 'STARTED'}
              aria-label="Progress"
              aria-valuetext={`${NUMBER.format(percent)} percent`}
            />
          </Progress.Root>
        )}
        <Group gap="md">
          {percent !== null && (
            <Text size="sm" fw={600}>
              {NUMBER.format(percent)} %
            </Text>
          )}
          {current !== null && (
            <Text size="sm">
              {NUMBER.format(current)}
              {total !== null && ` of ${NUMBER.format(total)}`}
            </Text>
          )}
          {message !== null && (
            <Text size="sm" style={{ overflowWrap: 'anywhere' }}>
              {message}
            </Text>
          )}
        </Group>
        {hasData && (
          <Loaded document={PROGRESS_DATA} id={task.id} version={task.revision}>
            {(loaded) => {
              const data = loaded.task?.progress?.data;
              return typeof data === 'string' ? (
                <JsonValue text={data} label="progress" fileName={`${task.id}-progress.json`} />
              ) : (
                <Nothing>The report has no other values.</Nothing>
              );
            }}
          </Loaded>
        )}
      </div>
    </Panel>
  );
}
