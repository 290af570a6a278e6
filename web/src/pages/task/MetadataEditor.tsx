/** Changes metadata as JSON text. What others change meanwhile is shown, and neither lost nor overwritten unseen. */
import { Alert, Button, Code, Group, Stack, Table, Text, Textarea } from '@mantine/core';
import { useMemo, useState } from 'react';
import { runExact } from '@/api/exact';
import { errorText, userErrorText } from '@/api/messages';
import { isObject, type JsonObject, jsonText, parseJson } from '@/ui/json/exact';
import { Problem } from '@/ui/Problem';
import { type Change, changesOf, merge, operationsOf, overlaps } from './metadataDiff';
import { type TaskState, UPDATE_METADATA } from './documents';

/** The metadata of a revision, as JSON text. */
export interface Read {
  revision: number;
  text: string;
}

interface Props {
  id: string;
  /** What the edits are made from. */
  read: Read;
  /** What the task has now. */
  now: Read;
  onRead: (read: Read) => void;
  onSaved: (state: TaskState) => void;
  onClose: () => void;
}

const MAX_OPERATIONS = 100;

/** Returns what the text says, or why it cannot be metadata. */
function edit(text: string): JsonObject | string {
  try {
    const value = parseJson(text);
    return isObject(value) ? value : 'Metadata is a JSON object: {…}.';
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

export function MetadataEditor({ id, read, now, onRead, onSaved, onClose }: Props) {
  const before = useMemo(() => parseJson(read.text) as JsonObject, [read.text]);
  const [text, setText] = useState(() => jsonText(before, 2));
  const [problem, setProblem] = useState<string | null>(null);
  const [isSaving, setSaving] = useState(false);
  const edited = useMemo(() => edit(text), [text]);
  const mine = typeof edited === 'string' ? [] : changesOf(before, edited);
  const present = useMemo(() => parseJson(now.text) as JsonObject, [now.text]);
  const theirs = useMemo(() => changesOf(before, present), [before, present]);

  /** Puts the edits on top of newer metadata. */
  const takeOver = (newer: Read): void => {
    const value = parseJson(newer.text) as JsonObject;
    if (typeof edited !== 'string') setText(jsonText(merge(before, edited, value), 2));
    onRead(newer);
  };
  const save = async (): Promise<void> => {
    setSaving(true);
    setProblem(null);
    const { data, error } = await runExact(UPDATE_METADATA, {
      id,
      operations: operationsOf(mine),
      expectedRevision: read.revision,
    });
    setSaving(false);
    const payload = data?.updateTaskMetadata;
    if (error || !payload) {
      setProblem(error ? errorText(error) : 'The server returned nothing.');
    } else if (payload.userErrors.length === 0 && payload.task) {
      onSaved(payload.task);
    } else {
      const isConflict = payload.userErrors.some(({ code }) => code === 'REVISION_CONFLICT');
      setProblem(
        isConflict
          ? 'The metadata has changed since you began, and nothing was saved. Your edits are kept: look at the text, and save again.'
          : userErrorText(payload.userErrors),
      );
      if (isConflict && payload.task) {
        takeOver({ revision: payload.task.revision, text: String(payload.task.metadata) });
      }
    }
  };
  return (
    <Stack gap="xs">
      <Textarea
        label="Metadata as JSON"
        value={text}
        onChange={(event) => setText(event.currentTarget.value)}
        error={typeof edited === 'string' ? edited : null}
        autosize
        minRows={4}
        maxRows={24}
        spellCheck={false}
        data-autofocus
        styles={{ input: { fontFamily: 'var(--mantine-font-family-monospace)', fontSize: 12 } }}
      />
      {theirs.length > 0 && <Meanwhile theirs={theirs} mine={mine} onTakeOver={() => takeOver(now)} />}
      {mine.length > 0 && <Changes title="To be saved" changes={mine} />}
      {mine.length > MAX_OPERATIONS && (
        <Problem
          text={`At most ${MAX_OPERATIONS} changes can be saved at once, and these are ${mine.length}.`}
        />
      )}
      {problem !== null && <Problem text={problem} />}
      <Group gap="xs" justify="flex-end">
        <Button size="compact-sm" variant="default" onClick={onClose}>
          Discard
        </Button>
        <Button
          size="compact-sm"
          loading={isSaving}
          disabled={mine.length === 0 || mine.length > MAX_OPERATIONS}
          onClick={() => void save()}
        >
          Save metadata
        </Button>
      </Group>
    </Stack>
  );
}

interface MeanwhileProps {
  theirs: readonly Change[];
  mine: readonly Change[];
  onTakeOver: () => void;
}

function Meanwhile({ theirs, mine, onTakeOver }: MeanwhileProps) {
  const both = overlaps(mine, theirs);
  return (
    <Alert color="yellow" variant="light" title="The metadata has changed meanwhile" role="status">
      <Changes title="Changed by others" changes={theirs} />
      {both.length > 0 && (
        <Text size="xs">
          You have edited the same: {both.map(({ path }) => path).join(', ')}. With your edits, yours are
          saved.
        </Text>
      )}
      <Button size="compact-xs" mt={4} variant="default" onClick={onTakeOver}>
        Add these changes to my text
      </Button>
    </Alert>
  );
}

const MAX_SHOWN = 20;
const MAX_VALUE = 120;

function Changes({ title, changes }: { title: string; changes: readonly Change[] }) {
  return (
    <Table.ScrollContainer minWidth={0}>
      <Table fz="xs" verticalSpacing={2} aria-label={title}>
        <Table.Caption style={{ captionSide: 'top', textAlign: 'start' }}>
          {title}
          {changes.length > MAX_SHOWN && ` (the first ${MAX_SHOWN} of ${changes.length})`}
        </Table.Caption>
        <Table.Tbody>
          {changes.slice(0, MAX_SHOWN).map(({ path, before, after }) => (
            <Table.Tr key={path}>
              <Table.Td>
                <Code>{path}</Code>
              </Table.Td>
              <Table.Td style={{ overflowWrap: 'anywhere' }}>
                {brief(before)} → {brief(after)}
              </Table.Td>
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
    </Table.ScrollContainer>
  );
}

function brief(value: Change['before']): string {
  if (value === undefined) return '(none)';
  const text = jsonText(value);
  return text.length > MAX_VALUE ? `${text.slice(0, MAX_VALUE)}…` : text;
}
