/** What the pages say about workers. */
import type { RunningTask, Worker } from '@/pages/queues/operations';

/** With the usual heartbeat of five seconds, two were missed. After three the worker is not listed any more. */
const LATE_MS = 12_000;

export const isLate = (worker: Worker, now: number): boolean =>
  now - Date.parse(worker.lastHeartbeatAt) > LATE_MS;

/** Returns why somebody should look at a worker; null if nobody has to. */
export function concern(worker: Worker, now: number): string | null {
  if (isLate(worker, now)) return 'Late heartbeat';
  if (!worker.isConsuming) return 'Takes no tasks';
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
