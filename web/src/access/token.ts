/**
 * The token of the tab. It is kept in sessionStorage, which other tabs cannot read and which ends with the tab; it is
 * never part of an address.
 */
import { useSyncExternalStore } from 'react';

const KEY = 'gql-api.token';

interface Access {
  token: string | null;
  /** Whether the server refused the last token: it has expired, was revoked, or never was one. */
  isRefused: boolean;
}

let access: Access = { token: sessionStorage.getItem(KEY), isRefused: false };
const listeners = new Set<() => void>();

function set(next: Access): void {
  access = next;
  if (next.token === null) sessionStorage.removeItem(KEY);
  else sessionStorage.setItem(KEY, next.token);
  listeners.forEach((listener) => listener());
}

export const token = (): string | null => access.token;

export const enterToken = (value: string): void => set({ token: value.trim(), isRefused: false });

export const leave = (): void => set({ token: null, isRefused: false });

/** Forgets a token that the server refused. A refusal that comes late does not end the access of a newer token. */
export function refuse(refused: string | null): void {
  if (refused === access.token) set({ token: null, isRefused: refused !== null });
}

export function onAccessChange(listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

export const authorization = (): Record<string, string> =>
  access.token === null ? {} : { Authorization: `Bearer ${access.token}` };

export const useAccess = (): Access => useSyncExternalStore(onAccessChange, () => access);
