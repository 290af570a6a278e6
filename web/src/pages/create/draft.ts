/** What a person has entered, and the call that it becomes. */
import { isLosslessNumber, isSafeNumber, LosslessNumber } from 'lossless-json';
import { isEqual, isObject, type Json, type JsonObject, jsonText, parseJson } from '@/ui/json/exact';
import { rfc3339, type ZonedTime } from '@/ui/zonedTime';

export interface Draft {
  name: string;
  /** How the arguments are edited. Each way has its own state, which the other one takes over when it is chosen. */
  mode: 'form' | 'json';
  form: Record<string, unknown>;
  kwargs: string;
  args: string;
  metadata: string;
  start: 'now' | 'time' | 'delay';
  time: ZonedTime;
  delaySeconds: string;
  queue: string;
  priority: string;
  expiresInSeconds: string;
  timeLimitSeconds: string;
  parentId: string;
  idempotencyKey: string;
}

/** Problems by the field that has them. */
export type Problems = Partial<Record<keyof Draft | 'scheduledFor', string>>;

export interface Original {
  id: string;
  kwargs: string;
  metadata: string;
}

/** Returns whether numbers of JavaScript can hold all numbers of a value. */
export const isSafe = (value: Json): boolean => {
  if (isLosslessNumber(value)) return isSafeNumber(value.value);
  if (Array.isArray(value)) return value.every(isSafe);
  return !isObject(value) || Object.values(value).every(isSafe);
};

/** Returns a value with numbers of JavaScript, as the form has it. */
export const toForm = (value: Json): unknown => JSON.parse(jsonText(value)) as unknown;

/** Returns whether a form has an integer whose digits JavaScript may have changed. */
const hasUnsafe = (value: unknown): boolean => {
  if (typeof value === 'number') return Number.isInteger(value) && !Number.isSafeInteger(value);
  return typeof value === 'object' && value !== null && Object.values(value).some(hasUnsafe);
};

/** The variables of createTask or replayTask; numbers may be LosslessNumber. */
export type Variables = Record<string, unknown>;

export interface Call {
  variables: Variables;
  problems: Problems;
}

class Reader {
  readonly problems: Problems = {};

  json(field: 'kwargs' | 'args' | 'metadata', text: string): Json | undefined {
    try {
      return parseJson(text);
    } catch (error) {
      this.problems[field] = error instanceof Error ? error.message : String(error);
      return undefined;
    }
  }

  number(field: keyof Draft, text: string): LosslessNumber | undefined {
    if (text.trim() === '') return undefined;
    try {
      return new LosslessNumber(text.trim());
    } catch {
      this.problems[field] = 'Enter a number.';
      return undefined;
    }
  }
}

const optional = (text: string): string | undefined => (text.trim() === '' ? undefined : text.trim());

function kwargsOf(draft: Draft, reader: Reader): Json | Record<string, unknown> | undefined {
  if (draft.mode === 'json') return reader.json('kwargs', draft.kwargs);
  if (hasUnsafe(draft.form)) {
    reader.problems.kwargs = 'A form cannot hold integers beyond 2^53 exactly. Enter the arguments as JSON.';
  }
  return draft.form;
}

/** Returns the input of createTask. What is left empty is left out. */
export function createCall(draft: Draft): Call {
  const reader = new Reader();
  const args = reader.json('args', draft.args || '[]');
  const scheduledFor = draft.start === 'time' ? rfc3339(draft.time) : undefined;
  if (scheduledFor === null) reader.problems.scheduledFor = 'Enter a date and a time.';
  if (draft.name.trim() === '') reader.problems.name = 'Choose a task.';
  const input: Variables = {
    name: draft.name.trim(),
    args: Array.isArray(args) && args.length === 0 ? undefined : args,
    kwargs: kwargsOf(draft, reader),
    metadata: reader.json('metadata', draft.metadata || '{}'),
    scheduledFor: scheduledFor ?? undefined,
    delaySeconds: draft.start === 'delay' ? reader.number('delaySeconds', draft.delaySeconds) : undefined,
    expiresInSeconds: reader.number('expiresInSeconds', draft.expiresInSeconds),
    priority: reader.number('priority', draft.priority),
    queue: optional(draft.queue),
    timeLimitSeconds: reader.number('timeLimitSeconds', draft.timeLimitSeconds),
    parentId: optional(draft.parentId),
    idempotencyKey: draft.idempotencyKey === '' ? undefined : draft.idempotencyKey,
  };
  return { variables: { input: given(input) }, problems: reader.problems };
}

/** Returns the variables of replayTask: only what differs from the task that is repeated, so that hidden values stay. */
export function replayCall(draft: Draft, original: Original): Call {
  const reader = new Reader();
  const kwargs = kwargsOf(draft, reader);
  const metadata = reader.json('metadata', draft.metadata || '{}');
  const variables = given({
    id: original.id,
    kwargs: changed(kwargs, original.kwargs),
    metadata: changed(metadata, original.metadata),
  });
  return { variables, problems: reader.problems };
}

const changed = (value: unknown, before: string): unknown =>
  value === undefined || isEqual(parseJson(jsonText(value)), parseJson(before)) ? undefined : value;

const given = (values: Variables): Variables =>
  Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined));

/** Returns the schema without the parameters that are given by position; their order is that of the function. */
export function withoutPositional(schema: JsonObject, count: number): JsonObject {
  const properties = isObject(schema.properties) ? schema.properties : {};
  const taken = new Set(Object.keys(properties).slice(0, count));
  const left = Object.fromEntries(Object.entries(properties).filter(([name]) => !taken.has(name)));
  const required = Array.isArray(schema.required)
    ? schema.required.filter((name) => !(typeof name === 'string' && taken.has(name)))
    : [];
  return { ...schema, properties: left, required };
}

/** Returns the curl call of an operation. It has no token: $TOKEN stands for it. */
export function curlOf(address: string, query: string, variables: Variables, needsToken: boolean): string {
  const quote = (text: string): string => `'${text.replaceAll("'", "'\\''")}'`;
  const lines = [
    `curl ${quote(address)}`,
    `-H 'Content-Type: application/json'`,
    ...(needsToken ? ['-H "Authorization: Bearer $TOKEN"'] : []),
    `--data-binary ${quote(jsonText({ query, variables }))}`,
  ];
  return lines.join(' \\\n  ');
}

/** Returns the errors of the API by field. Those of arguments keep their path within the arguments. */
export function placed(errors: readonly { message: string; field: readonly string[] | null }[]): {
  problems: Problems;
  inForm: Record<string, unknown>;
  others: string[];
} {
  const problems: Problems = {};
  const inForm: Record<string, unknown> = {};
  const others: string[] = [];
  for (const { message, field } of errors) {
    const [name, ...path] = field?.[0] === 'input' ? field.slice(1) : (field ?? []);
    if (name === undefined || name === 'id') others.push(message);
    else {
      const key = name as keyof Problems;
      problems[key] = problems[key] === undefined ? message : `${problems[key]} ${message}`;
    }
    if (name === 'kwargs' && path.length > 0) put(inForm, path, message);
  }
  return { problems, inForm, others };
}

function put(tree: Record<string, unknown>, path: readonly string[], message: string): void {
  let place = tree;
  for (const key of path) {
    const next = (Object.hasOwn(place, key) ? place[key] : {}) as Record<string, unknown>;
    Object.defineProperty(place, key, { value: next, enumerable: true, configurable: true, writable: true });
    place = next;
  }
  place.__errors = [...((place.__errors as string[] | undefined) ?? []), message];
}
