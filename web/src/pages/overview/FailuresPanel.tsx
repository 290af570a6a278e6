/** The failures that need attention: the first thing of the first screen. */
import { Anchor, Badge, Group, Stack, Text, VisuallyHidden } from '@mantine/core';
import { IconCircleCheck } from '@tabler/icons-react';
import { Link } from 'react-router';
import { BulkDialog } from '@/bulk/BulkDialog';
import { type BulkActions, useBulk } from '@/bulk/useBulk';
import type { Refreshed } from '@/live/useRefreshed';
import { Panel } from '@/ui/Panel';
import { Time } from '@/ui/Time';
import { taskPath, tasksPath } from '@/ui/paths';
import { countText, tasksText } from '@/ui/numbers';
import { type FailureGroup, type Failures, groupKey } from './failures';
import styles from './FailuresPanel.module.css';
import { GroupActions } from './GroupActions';
import type { TimeWindow } from './windows';

interface Props {
  failures: Refreshed<Failures>;
  window: TimeWindow;
  onChange: () => void;
}

export function FailuresPanel({ failures: { data, problem, refresh }, window, onChange }: Props) {
  // Here, and not in a row: the row of a group goes when the group does.
  const bulk = useBulk(onChange);
  return (
    <Panel
      title="Failures that need attention"
      hint={data && data.total > 0 && `${tasksText(data.total)} in the ${window.words}`}
      isLoading={data === null}
      problem={problem}
      onRetry={refresh}
    >
      {data && <Groups failures={data} window={window} ask={bulk.ask} />}
      <BulkDialog {...bulk} />
    </Panel>
  );
}

interface GroupsProps {
  failures: Failures;
  window: TimeWindow;
  ask: BulkActions['ask'];
}

function Groups({ failures, window, ask }: GroupsProps) {
  const { groups, others, from } = failures;
  if (groups.length === 0) {
    return (
      <Group gap="xs" wrap="nowrap">
        <IconCircleCheck size={18} color="var(--mantine-color-green-text)" aria-hidden />
        <Text size="sm">
          None in the {window.words}. Failures that were replayed or deleted do not count.
        </Text>
      </Group>
    );
  }
  return (
    <>
      <ul className={styles.list} aria-label="Failures that need attention">
        {groups.map((group) => (
          <GroupRow key={groupKey(group)} group={group} from={from} ask={ask} />
        ))}
      </ul>
      {others > 0 && (
        <Text size="sm">
          <Anchor
            component={Link}
            to={tasksPath({ status: 'FAILURE', finishedSince: from, isReplayed: false })}
          >
            {tasksText(others)} of other names
          </Anchor>
        </Text>
      )}
    </>
  );
}

interface RowProps {
  group: FailureGroup;
  from: string;
  ask: BulkActions['ask'];
}

function GroupRow({ group, from, ask }: RowProps) {
  const { name, errorType, count, latest } = group;
  const selection = { status: 'FAILURE', name, errorType, finishedSince: from, isReplayed: false };
  return (
    <li className={styles.row}>
      <Badge className={styles.count} color="red" size="lg" radius="sm">
        <span>{countText(count)}</span>
        <VisuallyHidden> {count === 1 ? 'task' : 'tasks'}</VisuallyHidden>
      </Badge>
      <Stack gap={2} className={styles.what}>
        <Group gap={6} className={styles.names}>
          <Anchor component={Link} to={tasksPath(selection)} fw={600} size="sm" className={styles.name}>
            {name}
          </Anchor>
          <Text span size="sm" ff="monospace" className={styles.name}>
            {errorType}
          </Text>
        </Group>
        <Text size="sm" c="dimmed" lineClamp={2} className={styles.name}>
          {latest.message || 'The error has no message.'}
        </Text>
        <Text size="xs" c="dimmed">
          <Anchor component={Link} to={taskPath(latest.id)} inherit>
            latest <Time at={latest.finishedAt} />
          </Anchor>
        </Text>
      </Stack>
      <div className={styles.actions}>
        <GroupActions group={group} from={from} ask={ask} />
      </div>
    </li>
  );
}
