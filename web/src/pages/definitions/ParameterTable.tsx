import { Badge, Code, Table, Text } from '@mantine/core';
import { type Parameter, parametersOf, takesOthers } from './schema';

/** The parameters of a task function, as its caller has to know them. */
export function ParameterTable({ inputSchema }: { inputSchema: unknown }) {
  const parameters = parametersOf(inputSchema);
  const others = takesOthers(inputSchema);
  if (parameters.length === 0) {
    return <Text size="sm">{others ? 'It takes any parameters.' : 'It takes no parameters.'}</Text>;
  }
  return (
    <>
      <Table aria-label="Parameters" fz="sm">
        <Table.Thead>
          <Table.Tr>
            <Table.Th>Name</Table.Th>
            <Table.Th>Type</Table.Th>
            <Table.Th>Default</Table.Th>
          </Table.Tr>
        </Table.Thead>
        <Table.Tbody>
          {parameters.map((parameter) => (
            <Row key={parameter.name} parameter={parameter} />
          ))}
        </Table.Tbody>
      </Table>
      {others && <Text size="sm">It takes other keyword arguments too.</Text>}
    </>
  );
}

function Row({ parameter }: { parameter: Parameter }) {
  const { name, type, isRequired, default: value, description } = parameter;
  return (
    <Table.Tr style={{ overflowWrap: 'anywhere' }}>
      <Table.Td>
        <Code>{name}</Code>
        {description && (
          <Text size="xs" c="dimmed">
            {description}
          </Text>
        )}
      </Table.Td>
      <Table.Td>{type}</Table.Td>
      <Table.Td>
        {isRequired ? (
          <Badge variant="default" radius="sm" size="sm">
            required
          </Badge>
        ) : (
          value !== null && <Code>{value}</Code>
        )}
      </Table.Td>
    </Table.Tr>
  );
}
