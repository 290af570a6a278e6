import { describe, expect, it, vi } from 'vitest';
import { type Bulk, changeAll, count } from './bulk';

const answer = (matched: number, changed: number, ...messages: string[]): Bulk => ({
  matched,
  changed,
  userErrors: messages.map((message) => ({ message, field: null })),
});

const calls = (...answers: Bulk[]) =>
  answers.reduce(
    (call, each) => call.mockResolvedValueOnce(each),
    vi.fn<(dryRun: boolean) => Promise<Bulk>>(),
  );

describe('a bulk action', () => {
  it('only counts in a dry run', async () => {
    const call = calls(answer(12, 0));
    expect(await count(call)).toBe(12);
    expect(call.mock.calls).toEqual([[true]]);
  });

  it('calls again while a call has changed fewer tasks than it found, and tells how far it is', async () => {
    const call = calls(answer(24_000, 10_000), answer(14_000, 10_000), answer(4_000, 4_000));
    const progress: number[] = [];
    expect(await changeAll(call, (changed) => progress.push(changed))).toEqual({
      changed: 24_000,
      problem: null,
    });
    expect(progress).toEqual([10_000, 20_000, 24_000]);
    expect(call.mock.calls).toEqual([[false], [false], [false]]);
  });

  it('ends when none of the rest can be changed, and says why', async () => {
    const call = calls(
      answer(5, 3, 'Task a cannot be replayed: x'),
      answer(2, 0, 'Task a cannot be replayed: x'),
    );
    const { changed, problem } = await changeAll(call, vi.fn());
    expect(changed).toBe(3);
    expect(problem).toBe('Task a cannot be replayed: x');
  });

  it('ends when nothing is left to do', async () => {
    expect(await changeAll(calls(answer(0, 0)), vi.fn())).toEqual({ changed: 0, problem: null });
  });

  it('says what was done before a call failed', async () => {
    const call = calls(answer(20_000, 10_000)).mockRejectedValueOnce(new Error('The server is busy.'));
    expect(await changeAll(call, vi.fn())).toEqual({ changed: 10_000, problem: 'The server is busy.' });
  });
});
