import { describe, expect, it } from 'vitest';
import type { TaskState } from './documents';
import { secondsOf, timelineOf, totalsOf } from './timeline';

type Transition = TaskState['history'][number];

const at = (second: number): string => new Date(Date.UTC(2030, 0, 1, 0, 0, second)).toISOString();

const step = (second: number, status: Transition['status'], more: Partial<Transition> = {}): Transition => ({
  revision: 0,
  status,
  at: at(second),
  worker: null,
  message: null,
  actor: null,
  ...more,
});

const task = (history: Transition[], more: object = {}) => ({
  createdAt: at(0),
  attempts: history.filter(({ status, message }) => status === 'STARTED' && message === null).length,
  cancelRequestedAt: null,
  isFinal: false,
  history: history.map((each, index) => ({ ...each, revision: each.revision || index + 1 })),
  ...more,
});

const titles = (given: ReturnType<typeof task>): string[] =>
  timelineOf(given).moments.map(({ title }) => title);

describe('the timeline', () => {
  it('tells waiting from running, over all attempts', () => {
    const flaky = task([
      step(0, 'SCHEDULED'),
      step(10, 'QUEUED'),
      step(12, 'STARTED', { worker: 'celery@a' }),
      step(15, 'RETRY', { message: 'no route' }),
      step(25, 'QUEUED'),
      step(26, 'STARTED'),
      step(30, 'QUEUED', { message: 'its process was lost' }),
      step(31, 'STARTED'),
      step(33, 'SUCCESS'),
    ]);
    expect(titles(flaky)).toEqual([
      'Created, to start later',
      'Queued',
      'Attempt 1 started',
      'Attempt 1 failed and is to be retried',
      'Queued',
      'Attempt 2 started',
      'Attempt 2 was lost',
      'Attempt 3 started',
      'Succeeded',
    ]);
    const { segments } = timelineOf(flaky);
    expect(totalsOf(segments, Date.parse(at(99)))).toEqual([
      ['scheduled', 10],
      ['queued', 4],
      ['running', 9],
      ['retry', 10],
    ]);
  });

  it('goes on until now while the task has not ended, and never below zero', () => {
    const [open] = timelineOf(task([step(5, 'QUEUED')])).segments;
    if (!open) throw new Error('no segment');
    expect(secondsOf(open, Date.parse(at(8)))).toBe(3);
    expect(secondsOf(open, Date.parse(at(1)))).toBe(0);
  });

  it('has no negative part when clocks went back', () => {
    const { segments } = timelineOf(task([step(0, 'QUEUED'), step(-5, 'STARTED'), step(3, 'SUCCESS')]));
    expect(segments.map((each) => secondsOf(each, 0))).toEqual([0, 3]);
  });

  it('shows custom states within their attempt', () => {
    const given = task([
      step(0, 'QUEUED'),
      step(1, 'STARTED'),
      step(2, 'STARTED', { message: 'SENDING' }),
      step(5, 'SUCCESS'),
    ]);
    expect(titles(given)).toEqual(['Created', 'Attempt 1 started', 'State SENDING', 'Succeeded']);
    expect(timelineOf(given).segments.map(({ phase }) => phase)).toEqual(['queued', 'running']);
  });

  it('shows who cancelled, and the request to a running task', () => {
    const waiting = task([step(0, 'QUEUED'), step(4, 'REVOKED', { message: 'wrong', actor: 'alice' })], {
      cancelRequestedAt: at(4),
    });
    expect(titles(waiting)).toEqual(['Created', 'Revoked']);
    expect(timelineOf(waiting).moments.at(-1)).toMatchObject({ actor: 'alice', detail: 'wrong' });
    const running = task([step(0, 'QUEUED'), step(1, 'STARTED'), step(6, 'REVOKED', { actor: 'bob' })], {
      cancelRequestedAt: at(4),
    });
    expect(titles(running)).toEqual(['Created', 'Attempt 1 started', 'Cancellation requested', 'Revoked']);
    expect(timelineOf(running).moments[2]).toMatchObject({ actor: 'bob', segment: null });
  });

  it('says what the history does not have any more', () => {
    const cut = task(
      [step(50, 'STARTED', { revision: 70, message: 'SENDING' }), step(60, 'RETRY', { revision: 71 })],
      {
        attempts: 9,
      },
    );
    const { isCut, segments, moments } = timelineOf(cut);
    expect(isCut).toBe(true);
    expect(segments.map(({ phase }) => phase)).toEqual(['unknown', 'running', 'retry']);
    expect(moments[1]?.title).toBe('Attempt 9 failed and is to be retried');
  });
});
