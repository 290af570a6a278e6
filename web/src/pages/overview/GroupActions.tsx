import { Button, Code, Group, Text } from '@mantine/core';
import { IconRefresh, IconTrash } from '@tabler/icons-react';
import { useMay } from '@/access/viewer';
import { Confirm } from '@/ui/confirm';
import { countText, tasksText } from '@/ui/numbers';
import type { BulkAction } from './bulk';
import { type FailureGroup, groupFilter } from './failures';
import { useBulk } from './useBulk';

interface Props {
  group: FailureGroup;
  from: string;
  onDone: () => void;
}

const VERB = { replay: 'Replay', delete: 'Delete' };

/** Replays or deletes all failures of a group, after a question that says how many there are. */
export function GroupActions({ group, from, onDone }: Props) {
  const mayReplay = useMay('TASKS_CREATE');
  const mayDelete = useMay('TASKS_CONTROL');
  const bulk = useBulk(onDone);
  const { counts, question, changed } = bulk;
  const of = `${group.name}, ${group.errorType}`;
  const ask = (action: BulkAction) => () => void bulk.ask(action, groupFilter(group, from));
  return (
    <Group gap="xs" wrap="nowrap">
      {mayReplay && (
        <Button
          size="compact-sm"
          leftSection={<IconRefresh size={14} />}
          aria-label={`Replay all: ${of}`}
          loading={counts === 'replay'}
          onClick={ask('replay')}
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
          loading={counts === 'delete'}
          onClick={ask('delete')}
        >
          Delete all
        </Button>
      )}
      <Confirm
        opened={question !== null}
        title={question ? `${VERB[question.action]} ${tasksText(question.matched)}?` : ''}
        action={question ? `${VERB[question.action]} ${tasksText(question.matched)}` : ''}
        color={question?.action === 'delete' ? 'red' : 'blue'}
        onConfirm={bulk.confirm}
        onClose={bulk.close}
      >
        The failures of <Code>{group.name}</Code> with <Code>{group.errorType}</Code>.{' '}
        {question?.action === 'delete'
          ? 'They and their logs are deleted for good.'
          : 'Each is created anew with the same arguments and metadata, and leaves this list.'}
        {question !== null && changed !== null && (
          <Text role="status" mt="xs" size="sm">
            {countText(changed)} of {countText(question.matched)} done
          </Text>
        )}
      </Confirm>
    </Group>
  );
}
