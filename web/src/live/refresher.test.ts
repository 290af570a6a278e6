import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { type Outcome, Refresher } from './refresher';

let hidden = false;
let refresher: Refresher<number> | undefined;
let outcomes: Outcome<number>[] = [];

function setHidden(value: boolean): void {
  hidden = value;
  document.dispatchEvent(new Event('visibilitychange'));
}

function start(everyMs: number | null, load: () => Promise<number>) {
  outcomes = [];
  const counted = vi.fn(load);
  refresher = new Refresher({ load: counted, everyMs, onOutcome: (outcome) => outcomes.push(outcome) });
  return counted;
}

const after = (ms: number) => () => new Promise<number>((resolve) => setTimeout(() => resolve(ms), ms));

beforeEach(() => {
  vi.useFakeTimers();
  vi.spyOn(document, 'hidden', 'get').mockImplementation(() => hidden);
});

afterEach(() => {
  refresher?.stop();
  hidden = false;
  vi.useRealTimers();
  vi.restoreAllMocks();
});

describe('a refresher', () => {
  it('loads at once, and then once per second on average, whatever the number of requests', async () => {
    const load = start(null, after(0));
    await vi.advanceTimersByTimeAsync(1);
    expect(load).toHaveBeenCalledTimes(1);
    for (let event = 0; event < 1_000; event += 1) {
      refresher?.refresh();
      await vi.advanceTimersByTimeAsync(5);
    }
    expect(load.mock.calls.length).toBeGreaterThanOrEqual(5);
    expect(load.mock.calls.length).toBeLessThanOrEqual(8);
  });

  it('loads at least once per second while requests come', async () => {
    const times: number[] = [];
    start(null, () => Promise.resolve(times.push(performance.now())));
    for (let event = 0; event < 1_000; event += 1) {
      refresher?.refresh();
      await vi.advanceTimersByTimeAsync(5);
    }
    const gaps = times.slice(1).map((time, index) => time - (times[index] ?? 0));
    expect(Math.max(...gaps)).toBeLessThanOrEqual(1_005);
  });

  it('loads the last request too', async () => {
    const load = start(null, after(100));
    await vi.advanceTimersByTimeAsync(50);
    refresher?.refresh();
    await vi.advanceTimersByTimeAsync(1_200);
    expect(load).toHaveBeenCalledTimes(2);
  });

  it('loads at once for an event that follows a load that came by itself', async () => {
    const load = start(5_000, after(0));
    await vi.advanceTimersByTimeAsync(5_005);
    expect(load).toHaveBeenCalledTimes(2);
    refresher?.refresh();
    await vi.advanceTimersByTimeAsync(1);
    expect(load).toHaveBeenCalledTimes(3);
  });

  it('is idle for twice as long as a slow load took, and never loads twice at a time', async () => {
    const load = start(null, after(3_000));
    for (let second = 0; second < 8; second += 1) {
      refresher?.refresh();
      await vi.advanceTimersByTimeAsync(1_000);
    }
    expect(load).toHaveBeenCalledTimes(1);
    await vi.advanceTimersByTimeAsync(1_500);
    expect(load).toHaveBeenCalledTimes(2);
  });

  it('repeats by itself, after an error too', async () => {
    const load = start(5_000, () => Promise.reject(new Error('down')));
    await vi.advanceTimersByTimeAsync(10_100);
    expect(load).toHaveBeenCalledTimes(3);
    expect(outcomes.map(({ error }) => error)).toEqual(Array(3).fill(new Error('down')));
  });

  it('waits while the tab is hidden, and catches up when it is shown', async () => {
    const load = start(5_000, after(0));
    await vi.advanceTimersByTimeAsync(1);
    setHidden(true);
    refresher?.refresh();
    await vi.advanceTimersByTimeAsync(60_000);
    expect(load).toHaveBeenCalledTimes(1);
    setHidden(false);
    await vi.advanceTimersByTimeAsync(1);
    expect(load).toHaveBeenCalledTimes(2);
  });

  it('does not lose its turn in a hidden tab: it continues when the tab is shown', async () => {
    const load = start(5_000, after(0));
    await vi.advanceTimersByTimeAsync(1);
    setHidden(true);
    await vi.advanceTimersByTimeAsync(6_000);
    setHidden(false);
    await vi.advanceTimersByTimeAsync(1);
    expect(load).toHaveBeenCalledTimes(2);
    await vi.advanceTimersByTimeAsync(5_001);
    expect(load).toHaveBeenCalledTimes(3);
  });

  it('says nothing after its stop', async () => {
    start(1_000, after(100));
    await vi.advanceTimersByTimeAsync(50);
    refresher?.stop();
    await vi.advanceTimersByTimeAsync(5_000);
    expect(outcomes).toEqual([]);
  });
});
