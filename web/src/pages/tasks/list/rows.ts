/** Rows of the list: what the API sends of a task, with only the chosen parts of what can be large. */
import { isLosslessNumber, parse, stringify } from 'lossless-json';
import type { ListedTaskFragment } from '@/gql/graphql';
import type { Order } from '@/live/LiveList';

export type TaskOrderName = 'newest' | 'oldest' | 'finished';

/** A task with the texts of its extra columns, by column. */
export type Row = Omit<ListedTaskFragment, 'metadata' | 'kwargs'> & {
  extras: Readonly<Record<string, string>>;
  /** The place of the row in the order: milliseconds of the epoch; NaN where the order does not have the task. */
  position: number;
};

export const ORDERS: Record<TaskOrderName, Order<Row>> = {
  newest: inOrder(-1),
  oldest: inOrder(1),
  finished: inOrder(-1),
};

function inOrder(direction: 1 | -1): Order<Row> {
  return {
    compare: (one, other) =>
      direction * (one.position - other.position || (one.id < other.id ? -1 : one.id > other.id ? 1 : 0)),
    has: ({ position }) => !Number.isNaN(position),
  };
}

const MAX_TEXT = 200;
const PROGRESS_FIELDS = ['current', 'total', 'message', 'percent'] as const;

/** Returns what makes rows of tasks. The texts of metadata and arguments are not kept: 10,000 of them are large. */
export function rowMaker(order: TaskOrderName, extras: readonly string[]): (task: ListedTaskFragment) => Row {
  return ({ metadata, kwargs, ...task }) => {
    const sources = { metadata: lazy(metadata), kwargs: lazy(kwargs), progress: lazy(task.progress?.data) };
    const texts = extras.map((column) => [column, extraOf(column, task, sources)] as const);
    const at = order === 'finished' ? task.finishedAt : task.createdAt;
    return { ...task, extras: Object.fromEntries(texts), position: at === null ? NaN : Date.parse(at) };
  };
}

type Sources = Record<'metadata' | 'kwargs' | 'progress', () => unknown>;

function lazy(text: unknown): () => unknown {
  let value: { is: unknown } | undefined;
  return () => (value ??= { is: typeof text === 'string' ? parse(text) : undefined }).is;
}

function extraOf(column: string, { progress }: Pick<Row, 'progress'>, sources: Sources): string {
  const [source, path] = splitColumn(column);
  const field = PROGRESS_FIELDS.find((each) => source === 'progress' && each === path);
  if (field) return textOf(progress?.[field] ?? undefined);
  return source in sources ? textOf(valueAt(sources[source as keyof Sources](), path)) : '';
}

/** Returns the two parts of a column like metadata.customer.tier. */
export function splitColumn(column: string): [source: string, path: string] {
  const dot = column.indexOf('.');
  return dot < 0 ? [column, ''] : [column.slice(0, dot), column.slice(dot + 1)];
}

/** Returns the value at a path of the API; a path without an index reaches into every object of an array. */
export function valueAt(value: unknown, path: string): unknown {
  const keys = (path.match(/(?:[^.\\]|\\.)+/g) ?? []).map((key) => key.replace(/\\(.)/g, '$1'));
  return keys.reduce(child, value);
}

function child(value: unknown, key: string): unknown {
  if (Array.isArray(value)) {
    if (/^\d+$/.test(key)) return value[Number(key)] as unknown;
    const found = value.map((each) => child(each, key)).filter((each) => each !== undefined);
    return found.length > 0 ? found : undefined;
  }
  if (typeof value !== 'object' || value === null || !Object.hasOwn(value, key)) return undefined;
  return (value as Record<string, unknown>)[key];
}

function textOf(value: unknown): string {
  if (value === undefined) return '';
  const text =
    typeof value === 'string' ? value : isLosslessNumber(value) ? value.value : (stringify(value) ?? '');
  return text.length > MAX_TEXT ? `${text.slice(0, MAX_TEXT)}…` : text;
}

/** Returns the paths of the single values in an object, as filters and columns take them. */
export function pathsOf(value: unknown, prefix = ''): string[] {
  if (typeof value !== 'object' || value === null || isLosslessNumber(value)) return prefix ? [prefix] : [];
  if (Array.isArray(value)) return [...new Set(value.flatMap((each) => pathsOf(each, prefix)))];
  return Object.entries(value).flatMap(([key, each]) => {
    const escaped = key.replace(/[\\.]/g, '\\$&');
    return pathsOf(each, prefix ? `${prefix}.${escaped}` : escaped);
  });
}
