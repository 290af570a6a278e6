/**
 * The token of the tab. It is kept in sessionStorage, which other tabs cannot read and which ends with the tab; it is
 * never part of an address.
 */
import { useSyncExternalStore } from 'react';

const KEY = 'gql-api.token';

interface Access {
  token: string | null;
  /** A number that changes with the person who has access, and not when their token is renewed. */
  session: number;
  /** Whether the server refused the last token: it has expired, was revoked, or never was one. */
  isRefused: boolean;
  /** Whether the server refused a request without a token: it needs one, though the page did not know it. */
  isAsked: boolean;
}

let access: Access = { token: sessionStorage.getItem(KEY), session: 0, isRefused: false, isAsked: false };
const listeners = new Set<() => void>();

function set(next: Access): void {
  access = next;
  if (next.token === null) sessionStorage.removeItem(KEY);
  else sessionStorage.setItem(KEY, next.token);
  listeners.forEach((listener) => listener());
}

export const token = (): string | null => access.token;

function begin(next: Partial<Access>): void {
  set({ token: null, session: access.session + 1, isRefused: false, isAsked: false, ...next });
}

export const enterToken = (value: string): void => begin({ token: value.trim() });

/** Replaces a token that is about to expire. The page goes on as it is. */
export const renewToken = (value: string): void => set({ ...access, token: value });

export const leave = (): void => begin({});

/** Forgets a token that the server refused. A refusal that comes late does not end the access of a newer token. */
export function refuse(refused: string | null): void {
  if (refused === access.token) begin({ isRefused: refused !== null, isAsked: true });
}

export function onAccessChange(listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

export const authorization = (): Record<string, string> =>
  access.token === null ? {} : { Authorization: `Bearer ${access.token}` };

export const useAccess = (): Access => useSyncExternalStore(onAccessChange, () => access);
