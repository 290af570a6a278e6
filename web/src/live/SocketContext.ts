import type { Client } from 'graphql-ws';
import { createContext, useContext } from 'react';

export const SocketContext = createContext<Client | null>(null);

export function useSocket(): Client {
  const socket = useContext(SocketContext);
  if (socket === null) throw new Error('useSocket outside of SocketContext');
  return socket;
}
