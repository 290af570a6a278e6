/** The state of the WebSocket, which every page shows: data that is not live must not look as if it were. */
import { useSyncExternalStore } from 'react';

export interface Connection {
  /** idle: nothing is watched. lost: the connection has ended, and is tried again. */
  state: 'idle' | 'connecting' | 'live' | 'lost';
  /** When the state began, in milliseconds of the epoch, by this computer's clock. */
  since: number;
}

let connection: Connection = { state: 'idle', since: Date.now() };
const listeners = new Set<() => void>();

export function setConnection(state: Connection['state']): void {
  if (state === connection.state) return;
  connection = { state, since: Date.now() };
  listeners.forEach((listener) => listener());
}

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

export const useConnection = (): Connection => useSyncExternalStore(subscribe, () => connection);
