/** The task functions that workers have announced. */
import { graphql } from '@/gql';
import type { DefinitionsQuery } from '@/gql/graphql';
import type { Ask } from '@/live/useRefreshed';
import { duration } from '@/ui/times';

const DEFINITIONS = graphql(`
  query Definitions {
    taskDefinitions {
      name
      description
      inputSchema
      redact
      queue
      maxRetries
      timeLimit
      workers
    }
  }
`);

export const DEFINITIONS_EVERY_MS = 10_000;

export type Definition = DefinitionsQuery['taskDefinitions'][number];

export const loadDefinitions = async (ask: Ask): Promise<readonly Definition[]> =>
  (await ask(DEFINITIONS, {})).taskDefinitions;

/** Returns the definitions whose name, queue or description has all words of a text. */
export function matching(definitions: readonly Definition[], text: string): Definition[] {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  return definitions.filter(({ name, queue, description }) => {
    const searched = `${name} ${queue} ${description ?? ''}`.toLowerCase();
    return words.every((word) => searched.includes(word));
  });
}

export const workersText = (workers: number): string => (workers === 1 ? '1 worker' : `${workers} workers`);

export const retriesText = (maxRetries: number | null): string =>
  maxRetries === null ? 'no limit' : `at most ${maxRetries}`;

export const timeLimitText = (seconds: number | null): string =>
  seconds === null ? 'no limit' : duration(seconds);

export const firstLine = (description: string | null): string => description?.trim().split('\n')[0] ?? '';
