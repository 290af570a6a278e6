/** Views that people have saved: in this browser only. */
import { useSyncExternalStore } from 'react';

export interface View {
  name: string;
  /** The search part of the address. */
  search: string;
}

const KEY = 'gql-api.views';
const listeners = new Set<() => void>();
let read: { text: string | null; views: readonly View[] } = { text: null, views: [] };

const isView = (value: unknown): value is View =>
  typeof value === 'object' &&
  value !== null &&
  typeof (value as View).name === 'string' &&
  typeof (value as View).search === 'string';

function parse(text: string | null): readonly View[] {
  try {
    const value: unknown = JSON.parse(text ?? '[]');
    return Array.isArray(value) ? value.filter(isView) : [];
  } catch {
    return [];
  }
}

export function savedViews(): readonly View[] {
  const text = localStorage.getItem(KEY);
  if (text !== read.text) read = { text, views: parse(text) };
  return read.views;
}

function set(views: readonly View[]): void {
  localStorage.setItem(KEY, JSON.stringify(views));
  listeners.forEach((listener) => listener());
}

/** Saves a view; one with the same name is replaced. */
export const saveView = (view: View): void =>
  set(
    [...savedViews().filter(({ name }) => name !== view.name), view].sort((a, b) =>
      a.name.localeCompare(b.name),
    ),
  );

export const deleteView = (name: string): void => set(savedViews().filter((view) => view.name !== name));

/** Gives a view another name, which no other view has. */
export function renameView(name: string, next: string): void {
  const view = savedViews().find((each) => each.name === name);
  if (!view) return;
  deleteView(name);
  saveView({ ...view, name: next });
}

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  // Other tabs save views too.
  window.addEventListener('storage', listener);
  return () => {
    listeners.delete(listener);
    window.removeEventListener('storage', listener);
  };
}

export const useViews = (): readonly View[] => useSyncExternalStore(subscribe, savedViews);
