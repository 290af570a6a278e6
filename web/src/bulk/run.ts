/** A bulk action over any number of tasks: one call of the API changes at most 10,000. */
import type { BulkOutcomeFragment } from '@/gql/graphql';
import type { Written } from '@/pages/tasks/search/exact';

export type Outcome = BulkOutcomeFragment;

export type Call = (written: Written, dryRun: boolean) => Promise<Outcome>;

export interface Progress {
  changed: number;
  /** Why single tasks were not changed, each reason once. */
  reasons: readonly string[];
}

/** The API takes at most 1,000 values in a filter. */
const MAX_IDS = 1_000;
const MAX_REASONS = 10;

/** Returns the filters of single tasks. */
export function filtersOf(ids: readonly string[]): Written[] {
  const chunks = Array.from({ length: Math.ceil(ids.length / MAX_IDS) }, (_, index) =>
    ids.slice(index * MAX_IDS, (index + 1) * MAX_IDS),
  );
  return chunks.map((chunk) => ({ filter: { ids: chunk }, literal: null }));
}

/** Returns a filter without the tasks that are created from a time on. */
export const createdBefore = ({ filter, literal }: Written, at: string): Written => ({
  filter: { AND: [filter, { createdAt: { lt: at } }] },
  literal,
});

/** Returns how many tasks an action would change. */
export async function count(
  call: Call,
  filters: readonly Written[],
): Promise<{ matched: number; reasons: string[] }> {
  const outcomes = await Promise.all(filters.map((written) => call(written, true)));
  return {
    matched: outcomes.reduce((sum, { matched }) => sum + matched, 0),
    reasons: outcomes.flatMap(({ userErrors }) => userErrors.map(({ message }) => message)),
  };
}

/** Calls until nothing is left, nothing changes any more, or somebody stops it. */
export async function run(
  call: Call,
  filters: readonly Written[],
  onProgress: (progress: Progress) => void,
  isStopped: () => boolean,
): Promise<void> {
  let progress: Progress = { changed: 0, reasons: [] };
  for (const written of filters) {
    let isDone = false;
    while (!isDone && !isStopped()) {
      const { matched, changed, userErrors } = await call(written, false);
      const reasons = new Set([...progress.reasons, ...userErrors.map(({ message }) => message)]);
      progress = { changed: progress.changed + changed, reasons: [...reasons].slice(0, MAX_REASONS) };
      onProgress(progress);
      isDone = changed >= matched || changed === 0;
    }
  }
}
