/** The values of a task: its arguments, its metadata and its result. Each is loaded when it is shown. */
import { SimpleGrid, Text } from '@mantine/core';
import type { TypedDocumentNode } from '@graphql-typed-document-node/core';
import type { ReactNode } from 'react';
import { useQuery } from 'urql';
import { errorText } from '@/api/messages';
import { useReload } from '@/live/useReload';
import { Loading } from '@/ui/Loading';
import { Panel } from '@/ui/Panel';
import { JsonValue } from '@/ui/json/JsonValue';
import { Problem } from '@/ui/Problem';
import { ARGUMENTS, RESULT, type TaskState } from './documents';
import { MetadataCard } from './MetadataCard';

export function Values({ task, offer }: { task: TaskState; offer: (state: TaskState) => void }) {
  return (
    <SimpleGrid cols={{ base: 1, xl: 2 }} spacing="md">
      <Arguments task={task} />
      <MetadataCard task={task} offer={offer} />
      <Result task={task} />
    </SimpleGrid>
  );
}

interface LoadedProps<Result> {
  document: TypedDocumentNode<Result, { id: string }>;
  id: string;
  /** Another version is loaded anew. */
  version: string | number;
  children: (data: Result) => ReactNode;
}

/** Loads a value when it is on the screen. */
export function Loaded<Result>({ document, id, version, children }: LoadedProps<Result>) {
  const [{ data, error }, load] = useQuery({ query: document, variables: { id } });
  useReload(version, () => load());
  if (data) return children(data);
  if (error) return <Problem text={errorText(error)} onRetry={() => load()} />;
  return <Loading size="sm" />;
}

const asText = (value: unknown): string => (typeof value === 'string' ? value : JSON.stringify(value));

function Arguments({ task }: { task: TaskState }) {
  return (
    <Panel title="Arguments">
      <div>
        <Loaded document={ARGUMENTS} id={task.id} version={task.attempts}>
          {({ task: values }) => {
            if (values === null) return null;
            const [args, kwargs] = [asText(values.args), asText(values.kwargs)];
            if (args === '[]' && kwargs === '{}') return <Nothing>It was called without arguments.</Nothing>;
            return (
              <>
                {kwargs !== '{}' && (
                  <JsonValue text={kwargs} label="arguments" fileName={`${task.id}-kwargs.json`} />
                )}
                {args !== '[]' && (
                  <>
                    <Text size="xs" c="dimmed" mt="xs">
                      By position
                    </Text>
                    <JsonValue text={args} label="positional arguments" fileName={`${task.id}-args.json`} />
                  </>
                )}
              </>
            );
          }}
        </Loaded>
      </div>
    </Panel>
  );
}

function Result({ task }: { task: TaskState }) {
  return (
    <Panel title="Result">
      <div>
        {task.status !== 'SUCCESS' && (
          <Nothing>{task.isFinal ? 'It ended without a result.' : 'It has no result yet.'}</Nothing>
        )}
        {task.status === 'SUCCESS' && (
          <Loaded document={RESULT} id={task.id} version="end">
            {({ task: values }) =>
              values?.result == null || values.result === 'null' ? (
                <Nothing>The function returned nothing, or its result is not kept.</Nothing>
              ) : (
                <JsonValue text={asText(values.result)} label="result" fileName={`${task.id}-result.json`} />
              )
            }
          </Loaded>
        )}
      </div>
    </Panel>
  );
}

export function Nothing({ children }: { children: ReactNode }) {
  return (
    <Text size="sm" c="dimmed">
      {children}
    </Text>
  );
}
