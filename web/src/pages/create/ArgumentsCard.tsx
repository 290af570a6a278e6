import { Alert, SegmentedControl, Stack, Text, Textarea } from '@mantine/core';
import { useMemo, useState } from 'react';
import { Panel } from '@/ui/Panel';
import { isObject, type JsonObject, jsonText, parseJson } from '@/ui/json/exact';
import { ArgumentsForm } from './ArgumentsForm';
import { type Draft, isSafe, type Problems, toForm, withoutPositional } from './draft';

interface Props {
  draft: Draft;
  /** The schema of the arguments; null where no worker has announced the task, or it may not be read. */
  schema: object | null;
  problems: Problems;
  formErrors: Record<string, unknown>;
  set: (change: Partial<Draft>) => void;
}

/** Returns how many arguments are given by position. */
function positional(args: string): number {
  try {
    const value = parseJson(args || '[]');
    return Array.isArray(value) ? value.length : 0;
  } catch {
    return 0;
  }
}

export function ArgumentsCard({ draft, schema, problems, formErrors, set }: Props) {
  const [refusal, setRefusal] = useState<string | null>(null);
  const count = positional(draft.args);
  const shown = useMemo(() => schema && withoutPositional(schema as JsonObject, count), [schema, count]);
  const mode = shown === null ? 'json' : draft.mode;
  const choose = (next: string): void => {
    setRefusal(null);
    if (next === 'json') set({ mode: 'json', kwargs: jsonText(draft.form, 2) });
    else toFormMode();
  };
  const toFormMode = (): void => {
    try {
      const value = parseJson(draft.kwargs);
      if (!isObject(value)) setRefusal('The arguments have to be a JSON object.');
      else if (!isSafe(value)) setRefusal('A form cannot hold these numbers exactly: they stay JSON.');
      else set({ mode: 'form', form: toForm(value) as Record<string, unknown> });
    } catch (error) {
      setRefusal(error instanceof Error ? error.message : String(error));
    }
  };
  return (
    <Panel
      title="Arguments"
      actions={
        shown && (
          <SegmentedControl
            size="xs"
            aria-label="How to edit the arguments"
            value={mode}
            onChange={choose}
            data={[
              { value: 'form', label: 'Form' },
              { value: 'json', label: 'JSON' },
            ]}
          />
        )
      }
    >
      <Stack gap="sm">
        {refusal !== null && (
          <Alert color="yellow" role="alert">
            {refusal}
          </Alert>
        )}
        {count > 0 && (
          <Text size="xs" c="dimmed">
            {count === 1 ? 'The first parameter is' : `The first ${count} parameters are`} given by position.
          </Text>
        )}
        {shown && mode === 'form' ? (
          <>
            <ArgumentsForm
              key={draft.name}
              schema={shown}
              data={draft.form}
              errors={formErrors}
              onChange={(form) => set({ form })}
            />
            {problems.kwargs !== undefined && (
              <Text size="xs" c="red" role="alert">
                {problems.kwargs}
              </Text>
            )}
          </>
        ) : (
          <JsonInput
            label="Keyword arguments as JSON"
            value={draft.kwargs}
            error={problems.kwargs}
            onChange={(kwargs) => set({ mode: 'json', kwargs })}
          />
        )}
      </Stack>
    </Panel>
  );
}

interface JsonInputProps {
  label: string;
  description?: string;
  value: string;
  error?: string;
  onChange: (value: string) => void;
}

/** A JSON text, whose numbers keep their digits. */
export function JsonInput({ label, description, value, error, onChange }: JsonInputProps) {
  return (
    <Textarea
      label={label}
      description={description}
      value={value}
      error={error}
      onChange={(event) => onChange(event.currentTarget.value)}
      autosize
      minRows={2}
      maxRows={24}
      spellCheck={false}
      styles={{ input: { fontFamily: 'var(--mantine-font-family-monospace)', fontSize: 12 } }}
    />
  );
}
