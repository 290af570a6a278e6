/** How the playground runs operations: queries and mutations over HTTP, subscriptions over graphql-transport-ws. */
import type { Fetcher, FetcherParams } from '@graphiql/toolkit';
import {
  type ExecutionResult,
  getOperationAST,
  type OperationDefinitionNode,
  OperationTypeNode,
  parse,
} from 'graphql';
import { createClient, type FormattedExecutionResult } from 'graphql-ws';
import { authorization, refuse, token } from '@/access/token';
import { config } from '@/config';
import { address, closedAsForbidden } from '@/live/socket';
import { exactly, parseExactly } from './exactJson';

type Headers = Record<string, string>;
type Result = FormattedExecutionResult;

const REFUSED = 'The server does not accept the token.';

/** Returns a fetcher for GraphiQL, which reports the ids of the tasks that its mutations create. */
export function makeFetcher(onCreated: (id: string) => void): Fetcher {
  return async (asked, options) => {
    const headers = { ...authorization(), ...options?.headers };
    const operation = operationOf(asked);
    const params = operation ? { ...asked, operationName: operation.name?.value } : asked;
    if (operation?.operation === OperationTypeNode.SUBSCRIPTION)
      return subscribe(params, headers) as AsyncIterable<ExecutionResult>;
    const result = await post(params, headers);
    const id = createdId(result);
    if (id !== undefined) onCreated(id);
    return result as ExecutionResult;
  };
}

/** Returns the operation to run: right after a change of tabs, GraphiQL still has the name of the other tab's. */
function operationOf({ query, operationName }: FetcherParams): OperationDefinitionNode | null | undefined {
  try {
    const document = parse(query);
    return getOperationAST(document, operationName) ?? getOperationAST(document);
  } catch {
    // The server says what is wrong with the document.
    return null;
  }
}

async function post(params: FetcherParams, headers: Headers): Promise<Result> {
  const sent = token();
  const response = await fetch(config.path, {
    method: 'POST',
    credentials: 'same-origin',
    headers: {
      'Content-Type': 'application/json',
      Accept: 'application/graphql-response+json, application/json',
      ...headers,
    },
    body: JSON.stringify(params),
  });
  const text = await response.text();
  if (response.status === 401 && !usesOtherToken(headers)) refuse(sent);
  try {
    return parseExactly(text) as Result;
  } catch {
    throw new Error(
      `The server answered with the status ${response.status}, and not with JSON: ${text.slice(0, 500)}`,
    );
  }
}

/** Subscribes over a socket of its own: each operation may have other headers, which are the payload of its start. */
async function* subscribe(params: FetcherParams, headers: Headers): AsyncGenerator<Result> {
  const sent = token();
  const client = createClient({
    url: address(),
    connectionParams: headers,
    jsonMessageReviver: exactly,
    shouldRetry: (event) => !closedAsForbidden(event),
  });
  try {
    yield* client.iterate({
      query: params.query,
      operationName: params.operationName,
      variables: params.variables as Record<string, unknown> | undefined,
    });
  } catch (error) {
    if (!closedAsForbidden(error)) throw toError(error);
    if (!usesOtherToken(headers)) refuse(sent);
    throw new Error(REFUSED, { cause: error });
  } finally {
    await client.dispose();
  }
}

const usesOtherToken = (headers: Headers): boolean =>
  Object.entries(headers).some(
    ([name, value]) => name.toLowerCase() === 'authorization' && value !== authorization().Authorization,
  );

/** GraphiQL shows errors, and lists of them; of a closed socket it would show nothing. */
function toError(error: unknown): unknown {
  return error instanceof CloseEvent
    ? new Error(`The connection was closed with the code ${error.code} ${error.reason}`.trim())
    : error;
}

function createdId({ data }: Result): string | undefined {
  const payload = data?.createTask as { task?: { id?: string } | null } | null | undefined;
  return payload?.task?.id;
}
