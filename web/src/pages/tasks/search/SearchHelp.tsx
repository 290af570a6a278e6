import { Code, Modal, Table, Text } from '@mantine/core';
import { FIELDS } from './fields';

const RULES: readonly [string, string][] = [
  ['status:FAILURE,RETRY', 'One of several values'],
  ['-name:send_mail', 'Not this one'],
  ['name:"two words"', 'Quotes protect spaces, commas and colons'],
  ['created:<2h', 'Less than two hours ago: s, min, h, d, w. Counted back from when the list was loaded'],
  ['created:>7d', 'More than seven days ago'],
  ['created:2030-01-31', 'On a day; also >=2030-01-31T18:00, today, yesterday, 2030-01-01..2030-01-31'],
  ['metadata.n:>=3', 'A comparison of numbers or texts: > >= < <=, or 3..5'],
  ['metadata.n:5', 'The number or the text; metadata.n:"5" is the text only'],
  ['metadata.sku:A-*', 'A text that begins like this'],
  ['metadata.note:*', 'There is a value; -metadata.note:* there is none'],
  ['metadata."odd key".x:1', 'A key with spaces, dots or colons'],
  ['b3c1…', 'A word alone is the id or the name of a task'],
];

/** The syntax of the search bar. */
export function SearchHelp({ opened, onClose }: { opened: boolean; onClose: () => void }) {
  return (
    <Modal opened={opened} onClose={onClose} title="How to search" size="lg">
      <Text size="sm" mb="sm">
        Terms are separated by spaces, and all of them must match. The address of the page has the search: it
        can be shared.
      </Text>
      <Lines lines={FIELDS.map(({ example, finds }) => [example, finds])} />
      <Text fw={600} mt="md" mb="xs">
        More
      </Text>
      <Lines lines={RULES} />
    </Modal>
  );
}

function Lines({ lines }: { lines: readonly (readonly [string, string])[] }) {
  return (
    <Table>
      <Table.Tbody>
        {lines.map(([example, meaning]) => (
          <Table.Tr key={example}>
            <Table.Td>
              <Code>{example}</Code>
            </Table.Td>
            <Table.Td>{meaning}</Table.Td>
          </Table.Tr>
        ))}
      </Table.Tbody>
    </Table>
  );
}
