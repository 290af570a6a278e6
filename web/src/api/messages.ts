/** The texts of errors, for people. */
import type { CombinedError } from 'urql';

const CODES: Record<string, string> = {
  OVERLOADED: 'The server is busy. Try again in a moment.',
  FORBIDDEN: 'Your token does not allow this.',
};

/** Returns what went wrong with a request, in one sentence or two. */
export function errorText(error: CombinedError): string {
  if (error.networkError) return `The server cannot be reached: ${error.networkError.message}`;
  return error.graphQLErrors
    .map(({ message, extensions }) => {
      const code = typeof extensions.code === 'string' ? extensions.code : '';
      return code in CODES ? `${CODES[code] ?? ''} (${message})` : message;
    })
    .join(' ');
}

/** Returns what the caller can correct, as a mutation's userErrors say it. */
export const userErrorText = (
  errors: readonly { message: string; field: readonly string[] | null }[],
): string =>
  errors.map(({ message, field }) => (field ? `${field.join('.')}: ${message}` : message)).join(' ');
