/** The failures that need attention: of the window, and neither replayed nor deleted; grouped by task name and error. */
import { graphql } from '@/gql';
import type { TaskFilter } from '@/gql/graphql';
import type { Ask } from '@/live/useRefreshed';

const FAILING_NAMES = graphql(`
  query FailingNames($filter: TaskFilter!) {
    tasks(first: 1, filter: $filter) {
      facet(by: NAME, first: 500) {
        value
        count
      }
    }
  }
`);

const FAILURES_OF_NAME = graphql(`
  query FailuresOfName($filter: TaskFilter!) {
    tasks(first: 1, filter: $filter, orderBy: { field: FINISHED_AT }) {
      nodes {
        id
        finishedAt
        error {
          type
          message
        }
      }
      facet(by: ERROR_TYPE, first: 10) {
        value
        count
      }
    }
  }
`);

/** The names that are shown. More of them at a time are an outage, which the first ones show as well. */
const MAX_NAMES = 20;

export interface Failure {
  id: string;
  finishedAt: string;
  message: string;
}

export interface FailureGroup {
  name: string;
  errorType: string;
  count: number;
  /** The failure that came last. */
  latest: Failure;
}

export interface Failures {
  groups: FailureGroup[];
  total: number;
  /** The failures of the names that are not shown. */
  others: number;
  from: string;
}

/** Returns the filter of all failures since a time that need attention. */
export const attentionFilter = (from: string): TaskFilter => ({
  statuses: ['FAILURE'],
  isReplayed: false,
  finishedAt: { gte: from },
});

/**
 * Returns the filter of the failures that a group shows. Later ones are not part of it: replays that fail again at once
 * would otherwise be replayed by the next call, and so on without an end.
 */
export function groupFilter({ name, errorType, latest }: FailureGroup, from: string): TaskFilter {
  const afterLatest = new Date(Date.parse(latest.finishedAt) + 1).toISOString();
  return {
    ...attentionFilter(from),
    names: [name],
    errorTypes: [errorType],
    finishedAt: { gte: from, lt: afterLatest },
  };
}

interface Bucket {
  value: string;
  count: number;
}

const textBuckets = (buckets: readonly { value: unknown; count: number }[]): Bucket[] =>
  buckets.filter((bucket): bucket is Bucket => typeof bucket.value === 'string');

const total = (buckets: readonly Bucket[]): number => buckets.reduce((sum, { count }) => sum + count, 0);

export async function loadFailures(ask: Ask, from: string, last: Failures | null = null): Promise<Failures> {
  const filter = attentionFilter(from);
  const names = textBuckets((await ask(FAILING_NAMES, { filter })).tasks.facet);
  const shown = names.slice(0, MAX_NAMES);
  const groups = await Promise.all(
    shown.map(({ value }) => groupsOf(ask, { ...filter, names: [value] }, value)),
  );
  return {
    groups: keepOrder(groups.flat(), last?.groups.map(groupKey) ?? []),
    total: total(names),
    others: total(names.slice(MAX_NAMES)),
    from,
  };
}

async function groupsOf(ask: Ask, filter: TaskFilter, name: string): Promise<FailureGroup[]> {
  const { nodes, facet } = (await ask(FAILURES_OF_NAME, { filter })).tasks;
  const [latest] = nodes;
  const found = textBuckets(facet).map(async ({ value, count }): Promise<FailureGroup | null> => {
    const isLatest = latest?.error?.type === value;
    const ofType = isLatest ? latest : await latestOf(ask, { ...filter, errorTypes: [value] });
    if (!ofType?.finishedAt) return null;
    const { id, finishedAt, error } = ofType;
    return { name, errorType: value, count, latest: { id, finishedAt, message: error?.message ?? '' } };
  });
  return (await Promise.all(found)).filter((group) => group !== null);
}

async function latestOf(ask: Ask, filter: TaskFilter) {
  return (await ask(FAILURES_OF_NAME, { filter })).tasks.nodes[0];
}

/** A task that has failed, as the subscription sends it: without its message, which can be large. */
export interface FailedTask {
  id: string;
  name: string;
  finishedAt: string | null;
  updatedAt: string;
  error: { type: string } | null;
}

/**
 * Returns the failures with one that has just come; the same ones if they have it, or a later one of its group. A change
 * of a task that failed before is none: only a load knows whether it still needs attention.
 */
export function withFailure(failures: Failures, task: FailedTask): Failures {
  const { id, name, finishedAt, error } = task;
  if (finishedAt === null || error === null || task.updatedAt !== finishedAt) return failures;
  if (isBefore(finishedAt, failures.from)) return failures;
  const place = failures.groups.findIndex((each) => each.name === name && each.errorType === error.type);
  const group = failures.groups[place] ?? { name, errorType: error.type, count: 0, latest: NONE };
  if (!isBefore(group.latest.finishedAt, finishedAt)) return failures;
  const latest = { id, finishedAt, message: group.latest.message };
  const groups = [...failures.groups];
  groups[place < 0 ? groups.length : place] = { ...group, count: group.count + 1, latest };
  return { ...failures, groups, total: failures.total + 1 };
}

const NONE: Failure = { id: '', finishedAt: new Date(0).toISOString(), message: '' };

const isBefore = (one: string, other: string): boolean => Date.parse(one) < Date.parse(other);

export const groupKey = ({ name, errorType }: FailureGroup): string => JSON.stringify([name, errorType]);

/** Returns the groups with those that were there before at their places, so that no button moves under the pointer. */
export function keepOrder(groups: readonly FailureGroup[], keys: readonly string[]): FailureGroup[] {
  const place = new Map(keys.map((key, index) => [key, index]));
  const of = (group: FailureGroup): number => place.get(groupKey(group)) ?? Infinity;
  return [...groups].sort((a, b) => compare(of(a), of(b)) || b.count - a.count);
}

const compare = (a: number, b: number): number => (a === b ? 0 : a < b ? -1 : 1);
