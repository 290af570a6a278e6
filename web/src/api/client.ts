/** Queries and mutations over HTTP. There is no cache: what a page shows comes from the API, or from a live list. */
import { Client, type CombinedError, fetchExchange, mapExchange } from 'urql';
import { authorization, refuse, token } from '@/access/token';
import { config } from '@/config';
import { fetchWithClock } from '@/live/serverClock';

const isRefusal = (error: CombinedError): boolean =>
  error.graphQLErrors.some(({ extensions }) => extensions.code === 'UNAUTHENTICATED');

export function makeClient(): Client {
  // The token of the last request: a late refusal must not end the access of a newer one.
  let sent = token();
  return new Client({
    url: config.path,
    preferGetMethod: false,
    requestPolicy: 'network-only',
    fetch: fetchWithClock,
    fetchOptions: () => {
      sent = token();
      return {
        headers: { ...authorization(), Accept: 'application/graphql-response+json, application/json' },
        credentials: 'same-origin',
      };
    },
    exchanges: [
      mapExchange({
        onError: (error) => {
          if (isRefusal(error)) refuse(sent);
        },
      }),
      fetchExchange,
    ],
  });
}
