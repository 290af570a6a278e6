/** What the pages say about workers. */
import type { RunningTask, Worker } from '@/pages/queues/operations';

/** One may come late at any time. At the third the worker is not listed any more. */
const MISSED_IS_LATE = 2;

/** Returns why somebody should look at a worker; null if nobody has to. */
export function concern({ missedHeartbeats, isConsuming }: Worker): string | null {
  if (missedHeartbeats >= MISSED_IS_LATE) return 'Late heartbeat';
  if (!isConsuming) return 'Takes no tasks';
  return null;
}

export const runningOn = (running: readonly RunningTask[], hostname: string): RunningTask[] =>
  running.filter(({ worker }) => worker === hostname);

/** Returns the hostnames that several workers have. */
export function sharedNames(workers: readonly Worker[]): Set<string> {
  const seen = new Set<string>();
  return new Set(
    workers
      .map(({ hostname }) => hostname)
      .filter((hostname) => seen.has(hostname) || (seen.add(hostname), false)),
  );
}
