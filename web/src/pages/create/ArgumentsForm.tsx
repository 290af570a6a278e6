import Form from '@rjsf/mantine';
import type { ErrorSchema, RJSFSchema, UiSchema } from '@rjsf/utils';
import { useMemo } from 'react';
import { AnyField } from './AnyField';
import { TimeWidget } from './TimeWidget';
import { validator } from './validator';

interface Props {
  schema: object;
  data: Record<string, unknown>;
  /** What the API has found wrong, in the form of the arguments. */
  errors: Record<string, unknown>;
  onChange: (data: Record<string, unknown>) => void;
}

const TYPED = ['type', '$ref', 'anyOf', 'oneOf', 'allOf', 'enum', 'const'];

/** Returns a schema whose parameters have titles: the form shows nothing for an empty schema. */
function named(schema: RJSFSchema): RJSFSchema {
  const properties = Object.entries(schema.properties ?? {}).map(([name, parameter]) => [
    name,
    typeof parameter === 'boolean' ? { title: name } : { title: name, ...parameter },
  ]);
  return {
    ...schema,
    title: undefined,
    properties: Object.fromEntries(properties) as RJSFSchema['properties'],
  };
}

/** Returns how the parameters are shown: one without a type takes any value. */
function looksOf(schema: RJSFSchema): UiSchema {
  const looks: UiSchema = { 'ui:submitButtonOptions': { norender: true } };
  for (const [name, parameter] of Object.entries(schema.properties ?? {})) {
    if (typeof parameter === 'boolean') continue;
    if (!TYPED.some((key) => key in parameter)) looks[name] = { 'ui:field': AnyField };
    const options = (parameter.anyOf ?? []).map((option) => ({ 'ui:title': titleOf(option) }));
    if (options.length > 0) looks[name] = { anyOf: options };
  }
  return looks;
}

/** Returns what an option of a choice is called: by its title, its definition or its type. */
function titleOf(option: RJSFSchema | boolean): string {
  if (typeof option === 'boolean') return 'anything';
  const type = option.type === 'null' ? 'nothing (null)' : option.type;
  return option.title ?? option.$ref?.split('/').at(-1) ?? (typeof type === 'string' ? type : 'a value');
}

const WIDGETS = { DateTimeWidget: TimeWidget, DateWidget: TimeWidget, TimeWidget };

/** The arguments as a form, made from the JSON Schema of the task function. */
export function ArgumentsForm({ schema, data, errors, onChange }: Props) {
  // The form checks whether it has the same schema by its identity.
  const shown = useMemo(() => named(schema as RJSFSchema), [schema]);
  const looks = useMemo(() => looksOf(shown), [shown]);
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
      uiSchema={looks}
      onChange={({ formData }) => onChange((formData ?? {}) as Record<string, unknown>)}
    />
  );
}
