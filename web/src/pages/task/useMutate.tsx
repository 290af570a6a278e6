import { notifications } from '@mantine/notifications';
import type { TypedDocumentNode } from '@graphql-typed-document-node/core';
import { useClient } from 'urql';
import { errorText } from '@/api/messages';

interface UserError {
  code: string;
  message: string;
  field: readonly string[] | null;
}

interface Payload {
  userErrors: readonly UserError[];
}

/** What is clearer on this page than the API's message, which is written for programs. */
const CLEARER: Record<string, string> = {
  ALREADY_FINAL: 'The task has ended meanwhile.',
  NOT_FOUND: 'There is no such task any more.',
};

/** Returns why a mutation was refused, for the person at the page. */
const refusalText = (errors: readonly UserError[]): string =>
  errors
    .map(({ code, message }) => (code in CLEARER ? `${CLEARER[code] ?? ''} (${message})` : message))
    .join(' ');

/** Says what a mutation did not do. */
export const showFailure = (title: string, message: string): void => {
  notifications.show({ color: 'red', title, message, autoClose: 10_000, role: 'alert' });
};

/** Returns a function that runs a mutation and returns its payload, or shows why it was refused and returns null. */
export function useMutate(): <Result, Variables extends object, Found extends Payload>(
  title: string,
  document: TypedDocumentNode<Result, Variables>,
  variables: Variables,
  payload: (result: Result) => Found,
) => Promise<Found | null> {
  const client = useClient();
  return async (title, document, variables, payload) => {
    const { data, error } = await client.mutation(document, variables).toPromise();
    if (error || !data) {
      showFailure(title, error ? errorText(error) : 'The server returned nothing.');
      return null;
    }
    const found = payload(data);
    if (found.userErrors.length === 0) return found;
    showFailure(title, refusalText(found.userErrors));
    return null;
  };
}
