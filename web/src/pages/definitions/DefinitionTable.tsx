import { Anchor, Badge, Table, Text } from '@mantine/core';
import { Link } from 'react-router';
import { definitionPath, queuePath } from '@/ui/paths';
import { type Definition, firstLine, retriesText, timeLimitText, workersText } from './definitions';

export function DefinitionTable({ definitions }: { definitions: readonly Definition[] }) {
  return (
    <Table aria-label="Task functions" fz="sm">
      <Table.Thead>
        <Table.Tr>
          <Table.Th>Name</Table.Th>
          <Table.Th visibleFrom="sm">Queue</Table.Th>
          <Table.Th visibleFrom="md">Retries</Table.Th>
          <Table.Th visibleFrom="md">Time limit</Table.Th>
          <Table.Th>Can run it</Table.Th>
        </Table.Tr>
      </Table.Thead>
      <Table.Tbody>
        {definitions.map((definition) => (
          <Row key={definition.name} definition={definition} />
        ))}
      </Table.Tbody>
    </Table>
  );
}

function Row({ definition }: { definition: Definition }) {
  const { name, description, queue, maxRetries, timeLimit, workers } = definition;
  return (
    <Table.Tr>
      <Table.Td style={{ overflowWrap: 'anywhere' }}>
        <Anchor component={Link} to={definitionPath(name)} inherit fw={600}>
          {name}
        </Anchor>
        <Text size="xs" c="dimmed" lineClamp={2}>
          {firstLine(description)}
        </Text>
      </Table.Td>
      <Table.Td visibleFrom="sm" style={{ overflowWrap: 'anywhere' }}>
        <Anchor component={Link} to={queuePath(queue)} inherit>
          {queue}
        </Anchor>
      </Table.Td>
      <Table.Td visibleFrom="md">{retriesText(maxRetries)}</Table.Td>
      <Table.Td visibleFrom="md">{timeLimitText(timeLimit)}</Table.Td>
      <Table.Td style={{ whiteSpace: 'nowrap' }}>
        <WorkerCount workers={workers} />
      </Table.Td>
    </Table.Tr>
  );
}

/** How many workers can run a task function; none is a warning. */
export function WorkerCount({ workers }: { workers: number }) {
  return workers > 0 ? (
    <>{workersText(workers)}</>
  ) : (
    <Badge color="orange" radius="sm" size="sm">
      no worker
    </Badge>
  );
}
