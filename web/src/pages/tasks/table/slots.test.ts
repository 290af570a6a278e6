import { describe, expect, it } from 'vitest';
import { Slots } from './slots';

describe('the elements of rows', () => {
  it('stay with their rows, and a few new rows get new ones', () => {
    const slots = new Slots();
    expect(slots.assign(['a', 'b', 'c'])).toEqual([0, 1, 2]);
    expect(slots.assign(['new', 'a', 'b'])).toEqual([3, 0, 1]);
  });

  it('are taken over in their order when most rows are new', () => {
    const slots = new Slots();
    slots.assign(['a', 'b', 'c']);
    expect(slots.assign(['x', 'y', 'a'])).toEqual([1, 2, 0]);
    expect(slots.assign(['r', 's', 't', 'u'])).toEqual([1, 2, 0, 3]);
  });

  it('are the same when the same rows are drawn twice', () => {
    const slots = new Slots();
    slots.assign(['a', 'b']);
    expect(slots.assign(['b', 'c'])).toEqual(slots.assign(['b', 'c']));
  });
});
