import { describe, expect, it, vi } from 'vitest';
import { type Call, count, filtersOf, run } from './run';

const ALL = [{ filter: {}, literal: null }];
const outcome = (matched: number, changed: number, ...messages: string[]) => ({
  matched,
  changed,
  userErrors: messages.map((message) => ({ code: 'INVALID_INPUT' as const, message, field: null })),
});
const never = (): boolean => false;

describe('a bulk action', () => {
  it('calls again until as many tasks are changed as match', async () => {
    const call = vi
      .fn<Call>()
      .mockResolvedValueOnce(outcome(25_000, 10_000))
      .mockResolvedValueOnce(outcome(15_000, 10_000))
      .mockResolvedValueOnce(outcome(5_000, 5_000));
    const onProgress = vi.fn();
    await run(call, ALL, onProgress, never);
    expect(onProgress.mock.calls.map(([{ changed }]) => changed as number)).toEqual([10_000, 20_000, 25_000]);
    expect(call).toHaveBeenCalledTimes(3);
    expect(call).toHaveBeenLastCalledWith(ALL[0], false);
  });

  it('ends when nothing changes any more, and says each reason once', async () => {
    const call = vi
      .fn<Call>()
      .mockResolvedValueOnce(outcome(3, 1, 'no such name', 'no such name'))
      .mockResolvedValueOnce(outcome(2, 0, 'no such name'));
    const onProgress = vi.fn();
    await run(call, ALL, onProgress, never);
    expect(onProgress).toHaveBeenLastCalledWith({ changed: 1, reasons: ['no such name'] });
  });

  it('stops between two calls', async () => {
    const call = vi.fn<Call>().mockResolvedValue(outcome(20_000, 10_000));
    let stopped = false;
    await run(
      call,
      ALL,
      () => (stopped = true),
      () => stopped,
    );
    expect(call).toHaveBeenCalledTimes(1);
  });

  it('counts without changing anything', async () => {
    const call = vi.fn<Call>().mockResolvedValue(outcome(7, 0));
    expect(await count(call, ALL)).toEqual({ matched: 7, reasons: [] });
    expect(call).toHaveBeenCalledWith(ALL[0], true);
  });

  it('takes single tasks a thousand at a time', () => {
    const ids = Array.from({ length: 2_001 }, (_, index) => `${index}`);
    expect(filtersOf(ids).map(({ filter }) => filter.ids?.length)).toEqual([1_000, 1_000, 1]);
    expect(filtersOf([])).toEqual([]);
  });
});
