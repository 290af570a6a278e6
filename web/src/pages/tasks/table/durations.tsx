/** How long tasks waited and ran. The clocks of database and browser can differ: no time is ever negative. */
import { useOfNow } from '@/ui/clock';
import { duration, secondsBetween } from '@/ui/times';
import type { Row } from '../list/rows';
import { None } from './cells';

/** Two times; null as the end means now. */
export interface Stretch {
  from: string;
  to: string | null;
}

/** Returns how long a task has waited since it could start. Of later attempts the record does not say that. */
export function waitOf(
  row: Pick<Row, 'createdAt' | 'scheduledFor' | 'startedAt' | 'finishedAt' | 'attempts' | 'status'>,
): Stretch | null {
  const { createdAt, scheduledFor, startedAt, finishedAt, attempts, status } = row;
  if (attempts > 1 || status === 'SCHEDULED' || status === 'RETRY') return null;
  const isLater = scheduledFor !== null && Date.parse(scheduledFor) > Date.parse(createdAt);
  return { from: isLater ? scheduledFor : createdAt, to: startedAt ?? finishedAt };
}

/** Returns how long the running or last attempt took. */
export function runOf({
  startedAt,
  finishedAt,
  status,
}: Pick<Row, 'startedAt' | 'finishedAt' | 'status'>): Stretch | null {
  if (startedAt === null) return null;
  if (finishedAt === null && status !== 'STARTED') return null;
  return { from: startedAt, to: finishedAt };
}

export const WaitTime = ({ row }: { row: Row }) => <Length of={waitOf(row)} />;

export const RunTime = ({ row }: { row: Row }) => <Length of={runOf(row)} />;

function Length({ of: stretch }: { of: Stretch | null }) {
  if (!stretch) return <None />;
  if (stretch.to === null) return <Running from={stretch.from} />;
  return <span>{duration(secondsBetween(stretch.from, stretch.to))}</span>;
}

function Running({ from }: { from: string }) {
  return <span>{useOfNow((now) => duration(Math.floor(secondsSince(from, now))))}</span>;
}

const secondsSince = (from: string, now: number): number => Math.max(0, (now - Date.parse(from)) / 1_000);
