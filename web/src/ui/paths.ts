/**
 * Addresses of pages, with what they show. Names of tasks, queues and workers are data: they may hold any character. A
 * link to the list is a search in the words of its search bar: name:shop.import, status:FAILURE, metadata.tier:"gold".
 */
import type { LosslessNumber } from 'lossless-json';

type Value = string | number | boolean | null | LosslessNumber;

/** What the list of tasks can be narrowed to from other pages; all of it must hold. */
export interface TaskSelection {
  status?: string;
  name?: string;
  errorType?: string;
  queue?: string;
  /** The id of the parent. */
  parent?: string;
  /** The tasks that have ended since this time. */
  finishedSince?: string;
  /** Whether a replay of the task exists. */
  isReplayed?: boolean;
  /** The keys that lead to a value in the metadata, and the value. */
  metadata?: { keys: readonly string[]; value: Value };
}

const withParameters = (path: string, parameters: Record<string, string>): string =>
  `${path}?${new URLSearchParams(parameters).toString()}`;

export const taskPath = (id: string): string => `/tasks/${encodeURIComponent(id)}`;
export const createPath = (name: string): string => withParameters('/create', { name });
/** Returns the address of the form that replays a task with other arguments. */
export const replayPath = (id: string): string => withParameters('/create', { from: id });
export const queuePath = (name: string): string => withParameters('/queues', { name });
export const workerPath = (name: string): string => withParameters('/workers', { name });
export const definitionPath = (name: string): string => withParameters('/definitions', { name });

/** Returns the address of the list of tasks, with its search. */
export function tasksPath(selection: TaskSelection): string {
  return withParameters('/tasks', { q: [...words(selection)].join(' ') });
}

function* words({ finishedSince, isReplayed, metadata, ...others }: TaskSelection): Generator<string> {
  const { status, name, queue, errorType, parent } = others;
  for (const [word, value] of Object.entries({ status, name, queue, error: errorType, parent })) {
    if (value !== undefined) yield `${word}:${searchValue(value)}`;
  }
  if (finishedSince !== undefined) yield `finished:>=${finishedSince}`;
  if (isReplayed !== undefined) yield `replayed:${isReplayed ? 'yes' : 'no'}`;
  if (metadata) yield `metadata.${metadata.keys.map(searchKey).join('.')}:${metadataValue(metadata.value)}`;
}

const quoted = (text: string): string => `"${text.replace(/["\\]/g, '\\$&')}"`;

/** Returns a value as the search bar takes it: in quotes if it has anything but letters, digits and a few signs. */
const searchValue = (value: string): string => (/^[\p{L}\p{N}_./@-]+$/u.test(value) ? value : quoted(value));

/** Returns a key of the metadata as the search bar takes it. A dot within quotes is part of the key. */
const searchKey = (key: string): string => (/^[\p{L}\p{N}_/@-]+$/u.test(key) ? key : quoted(key));

/** Returns a value of the metadata: a text in quotes, so that it is not read as a number or a pattern. */
const metadataValue = (value: Value): string => (typeof value === 'string' ? quoted(value) : String(value));
