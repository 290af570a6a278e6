import { ActionIcon, Anchor, Button, Group, Text } from '@mantine/core';
import { IconChevronDown, IconChevronRight } from '@tabler/icons-react';
import { Link } from 'react-router';
import { Loading } from '@/ui/Loading';
import { Panel } from '@/ui/Panel';
import { tasksPath, taskPath } from '@/ui/paths';
import { Problem } from '@/ui/Problem';
import { StatusBadge } from '@/ui/StatusBadge';
import { Time } from '@/ui/Time';
import type { TaskPageQuery } from '@/gql/graphql';
import { type Family, type Member, useFamily } from './family';
import classes from './FamilyTab.module.css';
import { Nothing } from './Values';

type Origin = NonNullable<TaskPageQuery['task']>;

/** The parent of a task, the task that it repeats, and its descendants as a tree that is loaded where it is unfolded. */
export function FamilyTab({ task }: { task: Origin }) {
  const family = useFamily(task.id, task.updatedAt);
  return (
    <Panel
      title="Parents and children"
      actions={
        <Anchor component={Link} to={tasksPath({ parent: task.id })} size="sm">
          Children in the list
        </Anchor>
      }
    >
      <div>
        <Relative label="Parent" of={task.parent} />
        <Relative label="Replay of" of={task.replayOf} />
        <Text size="xs" c="dimmed" mt="xs">
          Children
        </Text>
        <Children of={task.id} family={family} level={0} />
      </div>
    </Panel>
  );
}

function Relative({ label, of }: { label: string; of: Origin['parent'] }) {
  if (!of) return null;
  return (
    <Group gap="xs" mb={4}>
      <Text size="sm" c="dimmed">
        {label}
      </Text>
      <StatusBadge status={of.status} />
      <Anchor component={Link} to={taskPath(of.id)} size="sm" style={{ overflowWrap: 'anywhere' }}>
        {of.name}
      </Anchor>
    </Group>
  );
}

function Children({ of, family, level }: { of: string; family: Family; level: number }) {
  const branch = family.branches[of];
  if (!branch) return <Loading size="xs" />;
  if (branch.error !== null) return <Problem text={branch.error} onRetry={() => family.reload(of)} />;
  if (branch.members.length === 0)
    return <Nothing>{level === 0 ? 'It has no children.' : 'No children.'}</Nothing>;
  return (
    <>
      <ul className={classes.tree} aria-label={level === 0 ? 'Children' : undefined}>
        {branch.members.map((member) => (
          <li key={member.id}>
            <Row member={member} family={family} />
            {family.isOpen(member.id) && <Children of={member.id} family={family} level={level + 1} />}
          </li>
        ))}
      </ul>
      {branch.hasMore && (
        <Button size="compact-xs" variant="subtle" onClick={() => family.loadMore(of)}>
          Show more children
        </Button>
      )}
    </>
  );
}

function Row({ member, family }: { member: Member; family: Family }) {
  const isOpen = family.isOpen(member.id);
  return (
    <Group gap={6} wrap="nowrap">
      <ActionIcon
        variant="subtle"
        color="gray"
        size="sm"
        aria-expanded={isOpen}
        aria-label={`${isOpen ? 'Fold' : 'Unfold'} the children of ${member.name}`}
        onClick={() => family.toggle(member.id)}
      >
        {isOpen ? <IconChevronDown size={14} /> : <IconChevronRight size={14} />}
      </ActionIcon>
      <StatusBadge status={member.status} />
      <Anchor component={Link} to={taskPath(member.id)} size="sm" truncate title={member.id}>
        {member.name}
      </Anchor>
      {member.progress?.percent != null && !member.isFinal && (
        <Text size="xs">{Math.floor(member.progress.percent)} %</Text>
      )}
      <Text size="xs" c="dimmed" visibleFrom="sm">
        <Time at={member.finishedAt ?? member.startedAt ?? member.createdAt} />
      </Text>
    </Group>
  );
}
