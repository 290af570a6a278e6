/** Mutations whose variables keep the digits of their numbers, which JSON.stringify would change beyond 2^53. */
import type { TypedDocumentNode } from '@graphql-typed-document-node/core';
import { CombinedError, stringifyDocument } from 'urql';
import { authorization, refuse, token } from '@/access/token';
import { config } from '@/config';
import { fetchWithClock } from '@/live/serverClock';
import { jsonText } from '@/ui/json/exact';

export interface Outcome<Result> {
  data?: Result;
  error?: CombinedError;
}

interface Answer<Result> {
  data?: Result | null;
  errors?: { message: string; extensions?: Record<string, unknown> }[];
}

/** Runs an operation. Numbers in the variables may be LosslessNumber. */
export async function runExact<Result, Variables>(
  document: TypedDocumentNode<Result, Variables>,
  variables: Variables,
): Promise<Outcome<Result>> {
  const made = token();
  try {
    const response = await fetchWithClock(config.path, {
      method: 'POST',
      credentials: 'same-origin',
      headers: {
        ...authorization(),
        Accept: 'application/graphql-response+json, application/json',
        'Content-Type': 'application/json',
      },
      body: jsonText({ query: stringifyDocument(document), variables }),
    });
    const { data, errors } = (await response.json()) as Answer<Result>;
    if (!errors?.length) return { data: data ?? undefined };
    if (errors.some(({ extensions }) => extensions?.code === 'UNAUTHENTICATED')) refuse(made);
    return { data: data ?? undefined, error: new CombinedError({ graphQLErrors: errors }) };
  } catch (error) {
    const networkError = error instanceof Error ? error : new Error(String(error));
    return { error: new CombinedError({ networkError }) };
  }
}
