import {
  Alert,
  Anchor,
  Autocomplete,
  Button,
  Grid,
  Group,
  SegmentedControl,
  Stack,
  Text,
} from '@mantine/core';
import { useState } from 'react';
import { Link, useNavigate, useSearchParams } from 'react-router';
import { stringifyDocument } from 'urql';
import type { CreatableTasksQuery, RepeatedTaskQuery } from '@/gql/graphql';
import { runExact } from '@/api/exact';
import { errorText } from '@/api/messages';
import { REPLAY } from '@/pages/task/documents';
import { Panel } from '@/ui/Panel';
import { taskPath } from '@/ui/paths';
import { Problem } from '@/ui/Problem';
import { jsonText, parseJson } from '@/ui/json/exact';
import { browserZone, zoned } from '@/ui/zonedTime';
import { ArgumentsCard, JsonInput } from './ArgumentsCard';
import { CREATE } from './documents';
import { createCall, type Draft, isSafe, placed, type Problems, replayCall, toForm } from './draft';
import { OptionsCard } from './OptionsCard';
import { Preview } from './Preview';

type Definition = CreatableTasksQuery['taskDefinitions'][number];
type Original = NonNullable<RepeatedTaskQuery['task']>;

interface Props {
  definitions: readonly Definition[];
  original: Original | null;
}

const HOUR_MS = 3_600_000;

function initialDraft(name: string, original: Original | null): Draft {
  const kwargs = parseJson(original ? String(original.kwargs) : '{}');
  return {
    name: original?.name ?? name,
    mode: isSafe(kwargs) ? 'form' : 'json',
    form: isSafe(kwargs) ? (toForm(kwargs) as Record<string, unknown>) : {},
    kwargs: jsonText(kwargs, 2),
    args: original ? String(original.args) : '[]',
    metadata: jsonText(parseJson(original ? String(original.metadata) : '{}'), 2),
    start: 'now',
    time: zoned(Date.now() + HOUR_MS, browserZone()),
    delaySeconds: '',
    queue: original?.queue ?? '',
    priority: original ? String(original.priority) : '',
    expiresInSeconds: '',
    timeLimitSeconds: '',
    parentId: '',
    idempotencyKey: '',
  };
}

/** What the API has answered. */
interface Answer {
  problems: Problems;
  inForm: Record<string, unknown>;
  others: string[];
  existing: string | null;
}

const NOTHING: Answer = { problems: {}, inForm: {}, others: [], existing: null };

export function CreateForm({ definitions, original }: Props) {
  const [search, setSearch] = useSearchParams();
  const navigate = useNavigate();
  const [entered, setDraft] = useState(() => initialDraft(search.get('name') ?? '', original));
  const [isReplay, setReplay] = useState(original !== null);
  const [answer, setAnswer] = useState(NOTHING);
  const [isSending, setSending] = useState(false);
  // The name is in the address, so that the form of a task can be linked to.
  const name = original?.name ?? search.get('name') ?? '';
  const definition = definitions.find((each) => each.name === name.trim());
  // Without a schema there is no form: then the JSON is what is sent.
  const draft: Draft = { ...entered, name, mode: definition ? entered.mode : 'json' };
  const set = (change: Partial<Draft>): void => {
    setDraft((before) => ({ ...before, ...change }));
    setAnswer(NOTHING);
  };
  const rename = (next: string): void => {
    setSearch(next ? { name: next } : {}, { replace: true });
    set({});
  };
  const replayed =
    isReplay && original
      ? { id: original.id, kwargs: String(original.kwargs), metadata: String(original.metadata) }
      : null;
  const call = replayed ? replayCall(draft, replayed) : createCall(draft);
  const problems = { ...answer.problems, ...call.problems };
  const query = stringifyDocument(replayed ? REPLAY : CREATE);

  const send = async (): Promise<void> => {
    setSending(true);
    const { payload, error } = await submit(replayed !== null, call.variables);
    setSending(false);
    if (error !== null || !payload)
      setAnswer({ ...NOTHING, others: [error ?? 'The server returned nothing.'] });
    else if (payload.userErrors.length > 0) setAnswer({ ...placed(payload.userErrors), existing: null });
    else if (payload.task && !payload.created) setAnswer({ ...NOTHING, existing: payload.task.id });
    else if (payload.task) void navigate(taskPath(payload.task.id));
  };
  return (
    <form
      noValidate
      onSubmit={(event) => {
        event.preventDefault();
        void send();
      }}
    >
      <Grid gap="md">
        <Grid.Col span={{ base: 12, lg: 7 }}>
          <Stack>
            <Panel title="Task">
              <Stack gap="xs">
                {original ? (
                  <Repeated original={original} isReplay={isReplay} onChange={setReplay} />
                ) : (
                  <Autocomplete
                    label="Name"
                    data={definitions.map((each) => each.name)}
                    value={name}
                    error={answer.problems.name}
                    onChange={rename}
                    limit={100}
                    data-autofocus
                  />
                )}
                <About definition={definition} isNamed={name !== ''} />
              </Stack>
            </Panel>
            <ArgumentsCard
              draft={draft}
              schema={(definition?.inputSchema as object | undefined) ?? null}
              problems={problems}
              formErrors={answer.inForm}
              set={set}
            />
            <Panel title="Metadata">
              <JsonInput
                label="Metadata as JSON"
                value={draft.metadata}
                error={problems.metadata}
                onChange={(metadata) => set({ metadata })}
              />
            </Panel>
          </Stack>
        </Grid.Col>
        <Grid.Col span={{ base: 12, lg: 5 }}>
          <Stack>
            {replayed === null && (
              <OptionsCard draft={draft} problems={problems} queue={definition?.queue ?? null} set={set} />
            )}
            {answer.others.map((text) => (
              <Problem key={text} text={text} />
            ))}
            {answer.existing !== null && (
              <Alert color="blue" role="status" title="This task exists already">
                An earlier call with the same key created it.{' '}
                <Anchor component={Link} to={taskPath(answer.existing)}>
                  Open the task
                </Anchor>
              </Alert>
            )}
            <Group justify="flex-end">
              <Button type="submit" loading={isSending} disabled={Object.keys(call.problems).length > 0}>
                {replayed ? 'Replay' : 'Create the task'}
              </Button>
            </Group>
            <Preview query={query} variables={call.variables} />
          </Stack>
        </Grid.Col>
      </Grid>
    </form>
  );
}

async function submit(isReplay: boolean, variables: Record<string, unknown>) {
  // The variables are made field by field, with numbers that no generated type knows.
  if (isReplay) {
    const { data, error } = await runExact(REPLAY, variables as { id: string });
    return { payload: data?.replayTask, error: error ? errorText(error) : null };
  }
  const { data, error } = await runExact(CREATE, variables as { input: { name: string } });
  return { payload: data?.createTask, error: error ? errorText(error) : null };
}

interface RepeatedProps {
  original: Original;
  isReplay: boolean;
  onChange: (isReplay: boolean) => void;
}

function Repeated({ original, isReplay, onChange }: RepeatedProps) {
  return (
    <>
      <Text size="sm">
        {original.name}, as in{' '}
        <Anchor component={Link} to={taskPath(original.id)} size="sm" style={{ overflowWrap: 'anywhere' }}>
          {original.id}
        </Anchor>
      </Text>
      <SegmentedControl
        aria-label="What is created"
        value={isReplay ? 'replay' : 'new'}
        onChange={(value) => onChange(value === 'replay')}
        data={[
          { value: 'replay', label: 'A replay, linked to it' },
          { value: 'new', label: 'A new task' },
        ]}
      />
      <Text size="xs" c="dimmed">
        {isReplay
          ? 'It keeps queue, priority, owner and positional arguments. Hidden arguments stay if you change none.'
          : 'Everything can be changed. It is not linked to that task, and hidden arguments have to be entered.'}
      </Text>
    </>
  );
}

function About({ definition, isNamed }: { definition: Definition | undefined; isNamed: boolean }) {
  if (!definition) {
    return isNamed ? (
      <Text size="xs" c="dimmed">
        No task function with this name is known here: its arguments are entered as JSON.
      </Text>
    ) : null;
  }
  return (
    <>
      {definition.description !== null && (
        <Text size="sm" style={{ whiteSpace: 'pre-wrap' }}>
          {definition.description}
        </Text>
      )}
      {definition.workers === 0 && (
        <Alert color="orange">No worker that can run it is online. The task waits until one comes.</Alert>
      )}
    </>
  );
}
