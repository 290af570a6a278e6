import Form from '@rjsf/mantine';
import type { ErrorSchema, RJSFSchema } from '@rjsf/utils';
import { useMemo } from 'react';
import { TimeWidget } from './TimeWidget';
import { validator } from './validator';

interface Props {
  schema: object;
  data: Record<string, unknown>;
  /** What the API has found wrong, in the form of the arguments. */
  errors: Record<string, unknown>;
  onChange: (data: Record<string, unknown>) => void;
}

const WIDGETS = { DateTimeWidget: TimeWidget, DateWidget: TimeWidget, TimeWidget };

/** The arguments as a form, made from the JSON Schema of the task function. */
export function ArgumentsForm({ schema, data, errors, onChange }: Props) {
  // The form checks whether it has the same schema by its identity.
  const shown = useMemo(() => ({ ...schema, title: undefined }) as RJSFSchema, [schema]);
  return (
    <Form
      tagName="div"
      schema={shown}
      formData={data}
      validator={validator}
      widgets={WIDGETS}
      extraErrors={errors as ErrorSchema}
      liveValidate="onChange"
      showErrorList={false}
      noHtml5Validate
      idPrefix="argument"
      uiSchema={{ 'ui:submitButtonOptions': { norender: true } }}
      onChange={({ formData }) => onChange((formData ?? {}) as Record<string, unknown>)}
    />
  );
}
