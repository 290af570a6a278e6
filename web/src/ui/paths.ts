/** Addresses of pages, with what they show. Names of tasks, queues and workers are data: they may hold any character. */

/** What the list of tasks can be narrowed to from other pages. */
export interface TaskSelection {
  status?: string;
  name?: string;
  errorType?: string;
  queue?: string;
  /** The tasks that have ended since this time. */
  finishedSince?: string;
}

const named = (path: string, name: string): string => `${path}?${new URLSearchParams({ name }).toString()}`;

export const taskPath = (id: string): string => `/tasks/${encodeURIComponent(id)}`;
export const createPath = (name: string): string => named('/create', name);
export const queuePath = (name: string): string => named('/queues', name);
export const workerPath = (name: string): string => named('/workers', name);
export const definitionPath = (name: string): string => named('/definitions', name);

/** Returns the address of the list of tasks, with its search in the words of the search bar. */
export function tasksPath({ status, name, errorType, queue, finishedSince }: TaskSelection): string {
  const words = Object.entries({ status, name, queue, error: errorType }).flatMap(([word, value]) =>
    value === undefined ? [] : [`${word}:${searchValue(value)}`],
  );
  if (finishedSince !== undefined) words.push(`finished:>=${finishedSince}`);
  return `/tasks?${new URLSearchParams({ q: words.join(' ') }).toString()}`;
}

/** Returns a value as the search bar takes it: in quotes if it has anything but letters, digits and a few signs. */
const searchValue = (value: string): string =>
  /^[\p{L}\p{N}_./@-]+$/u.test(value) ? value : `"${value.replace(/["\\]/g, '\\$&')}"`;
