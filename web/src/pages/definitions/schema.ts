/** The JSON Schema of a task function's parameters, as people read it. */

type Schema = Record<string, unknown>;

export interface Parameter {
  name: string;
  type: string;
  isRequired: boolean;
  /** The default as JSON text; null without one. */
  default: string | null;
  description: string | null;
}

const MAX_DEPTH = 4;

const isSchema = (value: unknown): value is Schema =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

const isText = (value: unknown): value is string => typeof value === 'string';

/** Returns the parameters of a function, those that it needs first. */
export function parametersOf(inputSchema: unknown): Parameter[] {
  if (!isSchema(inputSchema) || !isSchema(inputSchema.properties)) return [];
  const required = Array.isArray(inputSchema.required) ? inputSchema.required.filter(isText) : [];
  const parameters = Object.entries(inputSchema.properties).map(([name, schema]): Parameter => {
    const description = isSchema(schema) ? schema.description : undefined;
    return {
      name,
      type: typeText(schema, inputSchema),
      isRequired: required.includes(name),
      default: isSchema(schema) && 'default' in schema ? JSON.stringify(schema.default) : null,
      description: isText(description) ? description : null,
    };
  });
  return parameters.sort((a, b) => Number(b.isRequired) - Number(a.isRequired));
}

/** Whether the function takes parameters beside those that it names, as **kwargs do. */
export const takesOthers = (inputSchema: unknown): boolean =>
  isSchema(inputSchema) && inputSchema.additionalProperties !== false;

/** Returns a type in a few words: "string (date)", "integer or null", "array of number", '"a" or "b"'. */
export function typeText(schema: unknown, root: Schema, depth = 0): string {
  if (!isSchema(schema) || depth > MAX_DEPTH) return 'any';
  const within = (inner: unknown): string => typeText(inner, root, depth + 1);
  if (isText(schema.$ref)) return within(referred(schema.$ref, root));
  if ('const' in schema) return JSON.stringify(schema.const);
  if (Array.isArray(schema.enum)) return oneOf(schema.enum.map((value) => JSON.stringify(value)));
  const choices = schema.anyOf ?? schema.oneOf;
  if (Array.isArray(choices)) return oneOf(choices.map(within));
  if (Array.isArray(schema.type))
    return oneOf(schema.type.map((type: unknown) => within({ ...schema, type })));
  return ofOneType(schema, within);
}

function ofOneType(schema: Schema, within: (inner: unknown) => string): string {
  if (!isText(schema.type)) return 'any';
  if (schema.type === 'array' && isSchema(schema.items)) return `array of ${within(schema.items)}`;
  if (schema.type === 'object' && isSchema(schema.properties)) {
    return `object with ${Object.keys(schema.properties).join(', ')}`;
  }
  const format = schema['x-python-type'] ?? schema.format;
  return isText(format) ? `${schema.type} (${format})` : schema.type;
}

const oneOf = (texts: string[]): string => [...new Set(texts)].join(' or ');

function referred(reference: string, root: Schema): unknown {
  const path = reference.replace(/^#\//, '').split('/');
  return path.reduce<unknown>((value, key) => (isSchema(value) ? value[key] : undefined), root);
}
