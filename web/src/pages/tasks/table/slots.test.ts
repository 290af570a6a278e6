import { describe, expect, it } from 'vitest';
import { Slots } from './slots';

describe('the elements of rows', () => {
  it('stay with their rows, and are taken over from rows that are gone', () => {
    const slots = new Slots();
    expect(slots.assign(['a', 'b', 'c'])).toEqual([0, 1, 2]);
    expect(slots.assign(['new', 'a', 'b'])).toEqual([2, 0, 1]);
    expect(slots.assign(['x', 'y', 'z'])).toEqual([0, 1, 2]);
  });

  it('are the same when the same rows are drawn twice', () => {
    const slots = new Slots();
    slots.assign(['a', 'b']);
    expect(slots.assign(['b', 'c'])).toEqual(slots.assign(['b', 'c']));
  });
});
