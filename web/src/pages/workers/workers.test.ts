import { describe, expect, it } from 'vitest';
import type { Worker } from '@/pages/queues/operations';
import { concern, runningOn, sharedNames } from './workers';

const worker = (changes: Partial<Worker> = {}): Worker => ({
  hostname: 'celery@a',
  pool: 'prefork',
  concurrency: 2,
  active: 1,
  lastHeartbeatAt: '2030-01-01T00:00:55Z',
  missedHeartbeats: 0,
  isConsuming: true,
  ...changes,
});

describe('a worker', () => {
  it.each([
    ['is well', {}, null],
    ['has missed a heartbeat', { missedHeartbeats: 1 }, null],
    ['has missed two heartbeats', { missedHeartbeats: 2 }, 'Late heartbeat'],
    ['does not consume', { isConsuming: false }, 'Takes no tasks'],
  ])('that %s', (_, changes, text) => {
    expect(concern(worker(changes))).toBe(text);
  });

  it('runs the tasks that name it', () => {
    const task = (id: string, hostname: string | null) => ({
      id,
      name: 'add',
      worker: hostname,
      startedAt: null,
    });
    const running = [task('1', 'celery@a'), task('2', 'celery@b'), task('3', null)];
    expect(runningOn(running, 'celery@a').map(({ id }) => id)).toEqual(['1']);
  });

  it('may share its name', () => {
    const workers = [worker(), worker({ hostname: 'celery@b' }), worker()];
    expect(sharedNames(workers)).toEqual(new Set(['celery@a']));
  });
});
