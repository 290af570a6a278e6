import { ScrollArea, Table } from '@mantine/core';
import { Time } from '@/ui/Time';
import { countText } from '@/ui/numbers';
import { type Column, figure } from './stats';

const TITLES = ['From', 'Succeeded', 'Failed', 'Cancelled'];
const TIMES = ['Queue p50', 'p95', 'p99', 'Run p50', 'p95', 'p99'];

/** The figures of the charts as a table, the newest first. */
export function StatsTable({ columns }: { columns: readonly Column[] }) {
  return (
    <ScrollArea.Autosize mah={420} viewportProps={{ tabIndex: 0, role: 'group', 'aria-label': 'Figures' }}>
      <Table striped stickyHeader fz="xs" aria-label="Finished tasks and their times">
        <Table.Thead>
          <Table.Tr>
            {[...TITLES, ...TIMES].map((title, index) => (
              <Table.Th key={index}>{title}</Table.Th>
            ))}
          </Table.Tr>
        </Table.Thead>
        <Table.Tbody>
          {[...columns].reverse().map((column) => (
            <Row key={column.at} column={column} />
          ))}
        </Table.Tbody>
      </Table>
    </ScrollArea.Autosize>
  );
}

function Row({ column: { at, succeeded, failed, revoked, queue, run } }: { column: Column }) {
  const times = [queue.p50, queue.p95, queue.p99, run.p50, run.p95, run.p99];
  return (
    <Table.Tr>
      <Table.Td>
        <Time at={new Date(at * 1_000).toISOString()} />
      </Table.Td>
      {[succeeded, failed, revoked].map((count, index) => (
        <Table.Td key={index}>{countText(count)}</Table.Td>
      ))}
      {times.map((seconds, index) => (
        <Table.Td key={index}>{figure(seconds)}</Table.Td>
      ))}
    </Table.Tr>
  );
}
