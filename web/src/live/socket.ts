/** One WebSocket for all subscriptions of the page. It opens with the first, and connects again by itself. */
import { type Client, createClient } from 'graphql-ws';
import { authorization, refuse, token } from '@/access/token';
import { config } from '@/config';
import { setConnection } from './connection';

const FORBIDDEN = 4403;
const NORMAL = 1000;
const MAX_WAIT_MS = 5_000;
const PING_MS = 10_000;
const PONG_MS = 5_000;

export function address(): string {
  const url = new URL(config.path, window.location.href);
  url.protocol = url.protocol.replace('http', 'ws');
  return url.href;
}

const closedWith = (event: unknown, code: number): boolean =>
  event instanceof CloseEvent && event.code === code;

export const closedAsForbidden = (event: unknown): boolean => closedWith(event, FORBIDDEN);

/** Waits longer with each attempt, and differently on each page: not all of them call a server that comes back. */
async function waitToRetry(retries: number): Promise<void> {
  const wait = Math.min(MAX_WAIT_MS, 250 * 2 ** retries) * (0.5 + Math.random() / 2);
  await new Promise((resolve) => setTimeout(resolve, wait));
}

export function makeSocket(): Client {
  let sent = token();
  let unanswered: ReturnType<typeof setTimeout> | undefined;
  const client = createClient({
    url: address(),
    lazyCloseTimeout: 1_000,
    connectionParams: () => {
      sent = token();
      return authorization();
    },
    retryAttempts: Infinity,
    retryWait: waitToRetry,
    // The server closes the connection when its token expires, which may have been renewed meanwhile.
    shouldRetry: (event) => !closedAsForbidden(event) || token() !== sent,
    keepAlive: PING_MS,
    on: {
      connecting: (isRetry) => setConnection(isRetry ? 'lost' : 'connecting'),
      connected: () => setConnection('live'),
      ping: (received) => {
        // Without an answer the connection is dead, though nobody has closed it.
        if (!received) unanswered = setTimeout(() => client.terminate(), PONG_MS);
      },
      pong: (received) => {
        if (received) clearTimeout(unanswered);
      },
      closed: (event) => {
        clearTimeout(unanswered);
        if (closedAsForbidden(event)) refuse(sent);
        setConnection(closedWith(event, NORMAL) ? 'idle' : 'lost');
      },
    },
  });
  return client;
}
