import { describe, expect, it } from 'vitest';
import type { TaskState } from './documents';
import { newer } from './live';

const state = (revision: number, second: number, isFinal = false) =>
  ({ revision, isFinal, updatedAt: new Date(second * 1_000).toISOString() }) as TaskState;

describe('of two states of a task', () => {
  it('the later one is shown, in whatever order they come', () => {
    const [first, second] = [state(1, 1), state(2, 2)];
    expect(newer(first, second)).toBe(second);
    expect(newer(second, first)).toBe(second);
  });

  it('a final one is shown, also when an announced revision was lost', () => {
    const [announced, final] = [state(9, 5), state(8, 4, true)];
    expect(newer(announced, final)).toBe(final);
    expect(newer(final, announced)).toBe(final);
  });

  it('the later one of two final ones is shown: metadata changes after the end', () => {
    const [end, changed] = [state(3, 3, true), state(4, 9, true)];
    expect(newer(end, changed)).toBe(changed);
  });
});
