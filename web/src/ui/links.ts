/**
 * Addresses of pages, made from data. A link to the list is a search in the words of its search bar: name:shop.import,
 * queue:celery, status:FAILURE, parent:<id>, metadata.customer.tier:"gold".
 */
import type { LosslessNumber } from 'lossless-json';

export interface TaskSearch {
  name?: string;
  queue?: string;
  status?: string;
  parent?: string;
  /** The keys that lead to a value in the metadata, and the value. */
  metadata?: { keys: readonly string[]; value: string | number | boolean | null | LosslessNumber };
}

const PLAIN = /^[\p{L}\p{N}_./@-]+$/u;

const quoted = (text: string): string => `"${text.replace(/["\\]/g, '\\$&')}"`;

/** Returns a value as the search bar takes it: in quotes if it has anything but letters, digits and a few signs. */
const searchValue = (value: string): string => (PLAIN.test(value) ? value : quoted(value));

/** Returns a key of the metadata as the search bar takes it. A dot within quotes is part of the key. */
const searchKey = (key: string): string => (/^[\p{L}\p{N}_/@-]+$/u.test(key) ? key : quoted(key));

/** Returns a value of the metadata: a text in quotes, so that it is not read as a number or a pattern. */
const metadataValue = (value: string | number | boolean | null | LosslessNumber): string =>
  typeof value === 'string' ? quoted(value) : String(value);

/** Returns the search of some conditions, all of which must hold. */
export function searchText({ name, queue, status, parent, metadata }: TaskSearch): string {
  const words = Object.entries({ name, queue, status, parent }).flatMap(([key, value]) =>
    value === undefined ? [] : [`${key}:${searchValue(value)}`],
  );
  if (metadata) {
    words.push(`metadata.${metadata.keys.map(searchKey).join('.')}:${metadataValue(metadata.value)}`);
  }
  return words.join(' ');
}

export const tasksLink = (search: TaskSearch): string => `/tasks?q=${encodeURIComponent(searchText(search))}`;

export const taskLink = (id: string): string => `/tasks/${encodeURIComponent(id)}`;

/** Returns the address of the form for a task function, or for the replay of a task with other arguments. */
export const createLink = ({ name, from }: { name?: string; from?: string }): string => {
  const search = new URLSearchParams({ ...(name && { name }), ...(from && { from }) }).toString();
  return search ? `/create?${search}` : '/create';
};
