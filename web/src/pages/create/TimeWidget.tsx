import { TextInput } from '@mantine/core';
import type { WidgetProps } from '@rjsf/utils';

const EXAMPLES: Record<string, string> = {
  date: '2030-01-01',
  time: '06:00:00',
  'date-time': '2030-01-01T06:00:00+01:00',
};

/** A date or time as the text that the API takes: what is sent is what is seen, with its zone. */
export function TimeWidget({
  id,
  value,
  required,
  disabled,
  readonly,
  label,
  schema,
  rawErrors,
  onChange,
}: WidgetProps) {
  return (
    <TextInput
      id={id}
      label={label}
      required={required}
      disabled={disabled}
      readOnly={readonly}
      placeholder={EXAMPLES[schema.format ?? ''] ?? ''}
      value={typeof value === 'string' ? value : ''}
      error={rawErrors?.join(', ')}
      onChange={(event) => onChange(event.currentTarget.value === '' ? undefined : event.currentTarget.value)}
    />
  );
}
