import { TextInput } from '@mantine/core';
import type { FieldProps } from '@rjsf/utils';
import { useState } from 'react';

/** Returns what a text means for a parameter of any type: a JSON value, or the text itself. */
export function anyValue(text: string): unknown {
  if (text === '') return undefined;
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return text;
  }
}

/** A parameter that takes any value. */
export function AnyField({ formData, onChange, fieldPathId, name, required }: FieldProps) {
  const [text, setText] = useState(() => (formData === undefined ? '' : JSON.stringify(formData)));
  return (
    <TextInput
      id={fieldPathId.$id}
      label={name}
      required={required}
      description="A JSON value; anything else is a text"
      value={text}
      onChange={(event) => {
        setText(event.currentTarget.value);
        onChange(anyValue(event.currentTarget.value), fieldPathId.path);
      }}
    />
  );
}
