/** The question before a bulk action, its progress, and its result. */
import { Alert, Button, Group, List, Loader, Modal, Progress, Stack, Text } from '@mantine/core';
import { countText, tasksText } from '@/ui/numbers';
import { Problem } from '@/ui/Problem';
import type { Action, Bulk, BulkActions } from './useBulk';

interface Words {
  verb: string;
  done: string;
  color: string;
  note: string;
  /** The text of the button that does nothing. */
  dismiss: string;
}

const WORDS: Record<Action, Words> = {
  cancel: {
    verb: 'Cancel',
    done: 'cancelled or asked to stop',
    color: 'orange',
    note: 'Tasks that wait are cancelled at once. Running ones are asked to stop. Ended ones stay as they are.',
    dismiss: 'Keep',
  },
  replay: {
    verb: 'Replay',
    done: 'replayed',
    color: 'blue',
    note: 'Each task is created once more, with its arguments and metadata. Those that were replayed before are left out.',
    dismiss: 'Do not replay',
  },
  delete: {
    verb: 'Delete',
    done: 'deleted',
    color: 'red',
    note: 'Ended tasks are deleted with their results and logs. This cannot be undone. Other tasks stay.',
    dismiss: 'Keep',
  },
};

export function BulkDialog({ bulk, confirm, close }: BulkActions) {
  if (!bulk) return null;
  return (
    <Modal opened onClose={close} title={`${WORDS[bulk.action].verb} ${bulk.target.name}`} centered>
      <Stack>
        <Body bulk={bulk} />
        <Buttons bulk={bulk} confirm={confirm} close={close} />
      </Stack>
    </Modal>
  );
}

function Body({ bulk }: { bulk: Bulk }) {
  const { action, target, matched, phase, error, progress } = bulk;
  const { verb, done, note } = WORDS[action];
  if (phase === 'counting') {
    return (
      <Group role="status">
        <Loader size="sm" />
        <Text size="sm">Counting the tasks…</Text>
      </Group>
    );
  }
  if (phase === 'question') {
    return (
      <>
        <Text fw={600}>
          {matched === 0
            ? `There is no task to ${verb.toLowerCase()}.`
            : `${verb} ${tasksText(matched ?? 0)}?`}
        </Text>
        {target.isEverything && matched !== 0 && (
          <Alert color="red">There is no filter: this is for all tasks that you may see.</Alert>
        )}
        <Text size="sm">{note}</Text>
        <Reasons of={progress.reasons} />
      </>
    );
  }
  return (
    <>
      <Text role="status">
        {tasksText(progress.changed)} of {countText(matched ?? 0)} {done}.
      </Text>
      {phase === 'running' && (
        <Progress
          value={(100 * progress.changed) / Math.max(1, matched ?? 0)}
          animated
          aria-label="Progress"
        />
      )}
      {error !== null && <Problem text={error} />}
      <Reasons of={progress.reasons} />
    </>
  );
}

function Reasons({ of: reasons }: { of: readonly string[] }) {
  if (reasons.length === 0) return null;
  return (
    <Alert variant="default" title="Some tasks are left as they are">
      <List size="sm">
        {reasons.map((reason) => (
          <List.Item key={reason}>{reason}</List.Item>
        ))}
      </List>
    </Alert>
  );
}

function Buttons({ bulk, confirm, close }: Omit<BulkActions, 'ask' | 'bulk'> & { bulk: Bulk }) {
  const { action, phase, matched } = bulk;
  const { verb, color, dismiss } = WORDS[action];
  const isQuestion = phase === 'question' && matched !== 0;
  return (
    <Group justify="flex-end">
      <Button variant="default" onClick={close} data-autofocus>
        {isQuestion ? dismiss : phase === 'running' ? 'Stop' : 'Close'}
      </Button>
      {isQuestion && (
        <Button color={color} onClick={confirm}>
          {`${verb} ${tasksText(matched ?? 0)}`}
        </Button>
      )}
    </Group>
  );
}
