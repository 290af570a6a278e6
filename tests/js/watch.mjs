// Watches a task with one of the clients that people use: node watch.mjs CLIENT URL TASK_ID [TOKEN_URL]
// A new token is fetched from TOKEN_URL for each connection.
// Prints each state as a line of JSON, then "complete". Only the waits before retries are shorter than the clients' own.
import { ApolloClient, ApolloLink, gql, HttpLink, InMemoryCache } from '@apollo/client';
import { SetContextLink } from '@apollo/client/link/context';
import { RetryLink } from '@apollo/client/link/retry';
import { GraphQLWsLink } from '@apollo/client/link/subscriptions';
import { Client, fetchExchange, subscriptionExchange } from '@urql/core';
import { retryExchange } from '@urql/exchange-retry';
import { EventSource } from 'eventsource';
import { createClient as createSse } from 'graphql-sse';
import { createClient as createWs } from 'graphql-ws';
import { onEnd, pipe, subscribe } from 'wonka';
import WebSocket from 'ws';

const [name, url, id, tokenUrl] = process.argv.slice(2);
const query = 'subscription ($id: ID!) { taskUpdated(id: $id) { id revision status progress { current } result } }';
const variables = { id };

const briefly = () => new Promise((resolve) => setTimeout(resolve, 100));
const authorization = async () =>
  tokenUrl ? { Authorization: `Bearer ${await (await fetch(tokenUrl)).text()}` } : {};
const authorizedFetch = async (input, options) =>
  fetch(input, { ...options, headers: { ...options.headers, ...(await authorization()) } });
// A token may expire on its way when the machine is busy, and EventSource, unlike the other clients, gives up then.
const patientFetch = async (input, options) => {
  for (;;) {
    const answer = await authorizedFetch(input, options);
    if (!tokenUrl || answer.status !== 401) return answer;
    await answer.body?.cancel();
    await briefly();
  }
};
const socket = () =>
  createWs({
    url: url.replace('http:', 'ws:'),
    webSocketImpl: WebSocket,
    connectionParams: authorization,
    retryAttempts: 50,
    retryWait: briefly,
  });
const events = () => createSse({ url, headers: authorization, retryAttempts: 50, retry: briefly });

const sink = (resolve, reject) => ({
  next: ({ data, errors, error }) => {
    if (errors || error) reject(errors ?? error);
    else console.log(JSON.stringify(data.taskUpdated));
  },
  error: reject,
  complete: resolve,
});

const plainly = (client) => new Promise((resolve, reject) => client.subscribe({ query, variables }, sink(resolve, reject)));

const withApollo = (link) => {
  const client = new ApolloClient({ cache: new InMemoryCache(), link });
  return new Promise((resolve, reject) =>
    client.subscribe({ query: gql(query), variables }).subscribe(sink(resolve, reject)));
};

const withUrql = (...exchanges) => {
  const client = new Client({ url, fetch: authorizedFetch, preferGetMethod: false, fetchSubscriptions: true, exchanges });
  return new Promise((resolve, reject) => {
    const { next } = sink(resolve, reject);
    pipe(
      client.subscription(query, variables),
      onEnd(resolve),
      subscribe((result) => result.data && next(result)),
    );
  });
};

const forwardedTo = (client) =>
  subscriptionExchange({
    forwardSubscription: ({ query, variables }) => ({
      subscribe: (observer) => ({ unsubscribe: client.subscribe({ query, variables }, observer) }),
    }),
  });

const withEventSource = () => {
  const source = new EventSource(`${url}?${new URLSearchParams({ query, variables: JSON.stringify(variables) })}`, {
    fetch: patientFetch,
  });
  return new Promise((resolve, reject) => {
    source.addEventListener('next', ({ data }) => sink(resolve, reject).next(JSON.parse(data)));
    source.addEventListener('complete', resolve);
    source.addEventListener('error', ({ code }) => code && reject(new Error(`status ${code}`)));
  });
};

const clients = {
  eventsource: withEventSource,
  'graphql-ws': () => plainly(socket()),
  'graphql-sse': () => plainly(events()),
  'apollo-ws': () => withApollo(new GraphQLWsLink(socket())),
  'apollo-multipart': () =>
    withApollo(
      ApolloLink.from([
        new RetryLink({ delay: { initial: 100, max: 100 }, attempts: { max: 50 } }),
        new SetContextLink(async () => ({ headers: await authorization() })),
        new HttpLink({ uri: url }),
      ]),
    ),
  'urql-ws': () => withUrql(forwardedTo(socket())),
  'urql-sse': () => withUrql(forwardedTo(events())),
  'urql-fetch': () =>
    withUrql(retryExchange({ initialDelayMs: 100, maxDelayMs: 200, maxNumberAttempts: 50 }), fetchExchange),
};

await clients[name]();
console.log('complete');
process.exit();
