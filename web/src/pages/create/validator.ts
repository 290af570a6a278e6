/** The validator of the form. It interprets schemas: the pages' Content-Security-Policy forbids to compile them. */
import { type OutputUnit, type Schema, Validator } from '@cfworker/json-schema';
import {
  createErrorHandler,
  type ErrorSchema,
  ErrorSchemaBuilder,
  type GenericObjectType,
  type RJSFSchema,
  type RJSFValidationError,
  unwrapErrorHandler,
  validationDataMerge,
  type ValidatorType,
} from '@rjsf/utils';

/** Keywords whose errors only say that something within has an error. */
const OUTER = new Set([
  'properties',
  'patternProperties',
  'items',
  'prefixItems',
  '$ref',
  'allOf',
  'if',
  'then',
  'else',
]);
const CHOICES = new Set(['anyOf', 'oneOf']);

/** Returns the keys of a JSON pointer like #/a/b~1c. */
const keysOf = (pointer: string): string[] =>
  pointer
    .split('/')
    .slice(1)
    .map((key) => decodeURIComponent(key).replaceAll('~1', '/').replaceAll('~0', '~'));

const missing = (error: string): string | undefined => /required property "(.*)"\.$/s.exec(error)?.[1];

/** Returns what is wrong, once for each place. */
function relevant(errors: readonly OutputUnit[]): OutputUnit[] {
  const choices = errors.filter(({ keyword }) => CHOICES.has(keyword));
  return errors.filter(({ keyword, keywordLocation, instanceLocation }) => {
    if (OUTER.has(keyword)) return false;
    // The options of a choice that has failed have errors of their own, which contradict each other.
    return !choices.some(
      (choice) =>
        keywordLocation.startsWith(`${choice.keywordLocation}/`) &&
        instanceLocation.startsWith(choice.instanceLocation),
    );
  });
}

/** Returns the keys of the value that has to be corrected: of a missing one, its own. */
function placeOf({ keyword, error, instanceLocation }: OutputUnit): string[] {
  const name = keyword === 'required' ? missing(error) : undefined;
  return [...keysOf(instanceLocation), ...(name === undefined ? [] : [name])];
}

function explained(unit: OutputUnit): RJSFValidationError {
  const { keyword, error, keywordLocation } = unit;
  const name = keyword === 'required' ? missing(error) : undefined;
  const keys = placeOf(unit);
  const message =
    name !== undefined
      ? 'is required'
      : CHOICES.has(keyword)
        ? 'has none of the allowed forms'
        : plain(error);
  const property = keys.map((key) => `['${key}']`).join('');
  return {
    name: keyword,
    message,
    params: {},
    property,
    schemaPath: keywordLocation,
    stack: `${keys.join('.')} ${message}`,
  };
}

/** Returns the library's message about an "instance" as one about a value. */
const plain = (error: string): string => error.replace(/^Instance /, 'Value ').replace(/\.$/, '');

function check(schema: unknown, data: unknown): OutputUnit[] {
  // undefined is no JSON value: keys that have it are left out.
  const text = JSON.stringify(data ?? {});
  return new Validator(schema as Schema, '2020-12', false).validate(JSON.parse(text)).errors;
}

export const validator: ValidatorType = {
  isValid(schema, formData, rootSchema) {
    if (typeof schema === 'boolean') return schema;
    const definitions = {
      ...(rootSchema.$defs as object | undefined),
      ...(schema.$defs as object | undefined),
    };
    try {
      const value: unknown = formData === undefined ? undefined : JSON.parse(JSON.stringify(formData));
      return new Validator({ ...schema, $defs: definitions } as Schema, '2020-12').validate(value).valid;
    } catch {
      return false;
    }
  },
  // eslint-disable-next-line @typescript-eslint/no-unnecessary-type-parameters -- the form library's interface has it
  rawValidation<Result>(schema: RJSFSchema, formData?: unknown) {
    return { errors: relevant(check(schema, formData)) as Result[] };
  },
  validateFormData(formData, schema, customValidate, transformErrors, uiSchema) {
    const units = relevant(check(schema, formData));
    const errorSchema = new ErrorSchemaBuilder();
    // By its keys: a path as text cannot tell a key with dots from several keys.
    for (const unit of units) errorSchema.addErrors(explained(unit).message ?? '', placeOf(unit));
    let errors = units.map(explained);
    if (transformErrors) errors = transformErrors(errors, uiSchema);
    const found = { errors, errorSchema: errorSchema.ErrorSchema };
    if (!customValidate) return found;
    const handler = customValidate(formData, createErrorHandler(formData as GenericObjectType), uiSchema);
    return validationDataMerge(found, unwrapErrorHandler(handler) as ErrorSchema);
  },
};

export default validator;
