import { Button, Group } from '@mantine/core';
import { IconRefresh, IconTrash } from '@tabler/icons-react';
import { useMay } from '@/access/viewer';
import type { Action, BulkActions } from '@/bulk/useBulk';
import { type FailureGroup, groupFilter } from './failures';

interface Props {
  group: FailureGroup;
  from: string;
  ask: BulkActions['ask'];
}

/** Replays or deletes all failures of a group, after a question that says how many there are. */
export function GroupActions({ group, from, ask }: Props) {
  const mayReplay = useMay('TASKS_CREATE');
  const mayDelete = useMay('TASKS_CONTROL');
  const of = `${group.name}, ${group.errorType}`;
  const askTo = (action: Action) => () =>
    ask(action, {
      name: `the failures of ${group.name} with ${group.errorType}`,
      filters: [{ filter: groupFilter(group, from), literal: null }],
      isEverything: false,
    });
  return (
    <Group gap="xs" wrap="nowrap">
      {mayReplay && (
        <Button
          size="compact-sm"
          leftSection={<IconRefresh size={14} />}
          aria-label={`Replay all: ${of}`}
          onClick={askTo('replay')}
        >
          Replay all
        </Button>
      )}
      {mayDelete && (
        <Button
          size="compact-sm"
          variant="default"
          leftSection={<IconTrash size={14} />}
          aria-label={`Delete all: ${of}`}
          onClick={askTo('delete')}
        >
          Delete all
        </Button>
      )}
    </Group>
  );
}
