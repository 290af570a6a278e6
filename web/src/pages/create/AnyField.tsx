import { TextInput } from '@mantine/core';
import type { FieldProps } from '@rjsf/utils';
import { useState } from 'react';

/** Returns what a text means for a parameter of any type: a JSON value, or the text itself. */
function anyValue(text: string): unknown {
  if (text === '') return undefined;
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return text;
  }
}

/** Returns the text that means a value: of a text, the text itself, unless that means something else. */
function anyText(value: unknown): string {
  if (value === undefined) return '';
  return typeof value === 'string' && anyValue(value) === value ? value : JSON.stringify(value);
}

/** A parameter that takes any value. */
export function AnyField({ formData, onChange, fieldPathId, name, required, schema, rawErrors }: FieldProps) {
  const [text, setText] = useState(() => anyText(formData));
  return (
    <TextInput
      id={fieldPathId.$id}
      label={name}
      required={required}
      description={[schema.description, 'A JSON value; anything else is a text'].filter(Boolean).join(' · ')}
      error={rawErrors?.join(', ')}
      value={text}
      onChange={(event) => {
        setText(event.currentTarget.value);
        onChange(anyValue(event.currentTarget.value), fieldPathId.path);
      }}
    />
  );
}
