import { Anchor, Table, Text } from '@mantine/core';
import { Link } from 'react-router';
import type { TaskStatus } from '@/gql/graphql';
import { taskPath } from './paths';
import { StatusBadge } from './StatusBadge';
import { Time } from './Time';

export interface TaskLine {
  id: string;
  name: string;
  status?: TaskStatus;
  /** The time that matters here. */
  at: string | null;
}

/** A few tasks, each with a link to its page. */
export function TaskLines({
  label,
  timeLabel,
  tasks,
}: {
  label: string;
  timeLabel: string;
  tasks: TaskLine[];
}) {
  return (
    <Table.ScrollContainer minWidth={0}>
      <Table aria-label={label} fz="sm">
        <Table.Thead>
          <Table.Tr>
            <Table.Th>Task</Table.Th>
            <Table.Th>{timeLabel}</Table.Th>
          </Table.Tr>
        </Table.Thead>
        <Table.Tbody>
          {tasks.map(({ id, name, status, at }) => (
            <Table.Tr key={id}>
              <Table.Td style={{ overflowWrap: 'anywhere' }}>
                <Anchor component={Link} to={taskPath(id)} inherit>
                  {name}
                </Anchor>{' '}
                {status && <StatusBadge status={status} />}
                <Text size="xs" c="dimmed" ff="monospace">
                  {id}
                </Text>
              </Table.Td>
              <Table.Td style={{ whiteSpace: 'nowrap' }}>{at === null ? '–' : <Time at={at} />}</Table.Td>
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
    </Table.ScrollContainer>
  );
}
