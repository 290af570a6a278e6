/** The task functions that can be called, or the one that the address names. */
import { Alert, Stack, Text, TextInput, Title } from '@mantine/core';
import { IconAlertTriangle, IconSearch } from '@tabler/icons-react';
import { useSearchParams } from 'react-router';
import { useRefreshed } from '@/live/useRefreshed';
import { Panel } from '@/ui/Panel';
import { DefinitionDetail } from './DefinitionDetail';
import { DefinitionTable } from './DefinitionTable';
import { type Definition, DEFINITIONS_EVERY_MS, loadDefinitions, matching } from './definitions';

export default function Definitions() {
  const [parameters] = useSearchParams();
  const name = parameters.get('name');
  const definitions = useRefreshed({
    key: 'definitions',
    load: loadDefinitions,
    everyMs: DEFINITIONS_EVERY_MS,
  });
  const { data, problem, refresh } = definitions;
  if (name !== null) return <DefinitionDetail name={name} definitions={definitions} />;
  return (
    <Stack>
      <Title order={1} size="h3">
        Task definitions
      </Title>
      <Panel
        title="Task functions"
        hint="As workers announced them; they stay when all workers have stopped."
        isLoading={data === null}
        problem={problem}
        onRetry={refresh}
      >
        {data && <List definitions={data} />}
      </Panel>
    </Stack>
  );
}

function List({ definitions }: { definitions: readonly Definition[] }) {
  const [text, setText] = useSearchText();
  if (definitions.length === 0) {
    return <Text size="sm">No worker has announced a task function yet: start one.</Text>;
  }
  const found = matching(definitions, text);
  const orphans = definitions.filter(({ workers }) => workers === 0).length;
  return (
    <>
      {orphans > 0 && (
        <Alert color="orange" icon={<IconAlertTriangle size={18} />}>
          {orphans === 1 ? 'One task function has' : `${orphans} task functions have`} no live worker that can
          run them: their tasks wait.
        </Alert>
      )}
      <TextInput
        aria-label="Find a task function"
        placeholder="A part of the name, queue or description"
        leftSection={<IconSearch size={16} />}
        value={text}
        onChange={(event) => setText(event.currentTarget.value)}
        maw={420}
      />
      {found.length > 0 ? (
        <DefinitionTable definitions={found} />
      ) : (
        <Text size="sm">No task function has “{text}” in its name, queue or description.</Text>
      )}
    </>
  );
}

/** The text is in the address; each letter replaces the entry of the history, so that Back leaves the page. */
function useSearchText(): [string, (text: string) => void] {
  const [parameters, setParameters] = useSearchParams();
  const setText = (text: string): void => {
    setParameters(
      (before) => {
        const next = new URLSearchParams(before);
        if (text) next.set('q', text);
        else next.delete('q');
        return next;
      },
      { replace: true },
    );
  };
  return [parameters.get('q') ?? '', setText];
}
