/** The figures of the chart: a column for each step of time, and the whole window. */
import { graphql } from '@/gql';
import type { FiguresFragment } from '@/gql/graphql';
import type { Ask } from '@/live/useRefreshed';
import { duration } from '@/ui/times';
import { firstColumnOf, type TimeWindow } from './windows';

export const FIGURES = graphql(`
  fragment Figures on TaskStatsBucket {
    at
    succeeded
    failed
    revoked
    queueSeconds {
      p50
      p95
      p99
    }
    runSeconds {
      p50
      p95
      p99
    }
  }
`);

const STATS = graphql(`
  query Stats($from: DateTime!, $bucketSeconds: Int!, $windowSeconds: Int!) {
    columns: taskStats(from: $from, bucketSeconds: $bucketSeconds) {
      ...Figures
    }
    whole: taskStats(from: $from, bucketSeconds: $windowSeconds) {
      ...Figures
    }
  }
`);

export type Bucket = FiguresFragment;
export type Percentiles = Bucket['queueSeconds'];

export interface Column {
  /** The beginning of the column, in seconds of the epoch. */
  at: number;
  succeeded: number;
  failed: number;
  revoked: number;
  queue: Percentiles;
  run: Percentiles;
}

export interface Stats {
  columns: Column[];
  queue: Percentiles;
  run: Percentiles;
}

const NONE: Percentiles = { p50: null, p95: null, p99: null };

export async function loadStats(ask: Ask, window: TimeWindow): Promise<Stats> {
  const first = firstColumnOf(window);
  const { columns, whole } = await ask(STATS, {
    from: new Date(first * 1_000).toISOString(),
    bucketSeconds: window.bucketSeconds,
    windowSeconds: window.seconds,
  });
  const [all] = whole;
  return {
    columns: columnsOf(columns, first, window),
    queue: all?.queueSeconds ?? NONE,
    run: all?.runSeconds ?? NONE,
  };
}

/** Returns all columns of a window, those in which nothing ended too. */
export function columnsOf(buckets: readonly Bucket[], first: number, window: TimeWindow): Column[] {
  const byTime = new Map(buckets.map((bucket) => [Date.parse(bucket.at) / 1_000, bucket]));
  return Array.from({ length: window.seconds / window.bucketSeconds }, (_, index) => {
    const at = first + index * window.bucketSeconds;
    const bucket = byTime.get(at);
    return {
      at,
      succeeded: bucket?.succeeded ?? 0,
      failed: bucket?.failed ?? 0,
      revoked: bucket?.revoked ?? 0,
      queue: bucket?.queueSeconds ?? NONE,
      run: bucket?.runSeconds ?? NONE,
    };
  });
}

export interface Totals {
  succeeded: number;
  failed: number;
  revoked: number;
}

export const totalsOf = (columns: readonly Column[]): Totals =>
  columns.reduce(
    (sum, { succeeded, failed, revoked }) => ({
      succeeded: sum.succeeded + succeeded,
      failed: sum.failed + failed,
      revoked: sum.revoked + revoked,
    }),
    { succeeded: 0, failed: 0, revoked: 0 },
  );

/** Returns a duration, or a dash where there was nothing to measure. */
export const figure = (seconds: number | null | undefined): string =>
  seconds === null || seconds === undefined ? '–' : duration(seconds);

export const percentilesText = ({ p50, p95, p99 }: Percentiles): string =>
  `p50 ${figure(p50)} · p95 ${figure(p95)} · p99 ${figure(p99)}`;
