import { describe, expect, it } from 'vitest';
import { SortedList } from './SortedList';

interface Item {
  at: number;
  state: string;
}

const item = (at: number, state = ''): Item => ({ at, state });
const byTime = (one: Item, other: Item): number => one.at - other.at;

function filled(places: readonly number[]): SortedList<Item> {
  const list = new SortedList<Item>(byTime);
  for (const at of places) list.add(item(at));
  return list;
}

const places = (list: SortedList<Item>): number[] => list.slice(0, list.length).map(({ at }) => at);

/** The numbers below a limit in an order that looks random, and is the same each time. */
const shuffled = (limit: number): number[] => Array.from({ length: limit }, (_, at) => (at * 7_919) % limit);

describe('a sorted list', () => {
  it('is sorted, whatever is added and removed in which order', () => {
    const list = filled(shuffled(2_000));
    expect(places(list)).toEqual(Array.from({ length: 2_000 }, (_, at) => at));
    for (const at of shuffled(2_000)) if (at % 3 !== 0) expect(list.remove(item(at))).toBe(true);
    expect(places(list)).toEqual(Array.from({ length: 667 }, (_, at) => at * 3));
    expect(list.remove(item(1))).toBe(false);
    for (const at of places(list)) list.remove(item(at));
    expect(list).toHaveLength(0);
    expect(list.last()).toBeUndefined();
  });

  it('finds items by their index, and the index of items', () => {
    const list = filled(shuffled(1_000).map((at) => at * 2));
    for (const index of [0, 1, 63, 64, 127, 128, 500, 999]) {
      expect(list.at(index)?.at).toBe(index * 2);
      expect(list.indexOf(item(index * 2))).toBe(index);
    }
    expect(list.at(-1)).toBeUndefined();
    expect(list.at(1_000)).toBeUndefined();
    expect(list.indexOf(item(3))).toBe(-1);
    expect(list.slice(126, 130).map(({ at }) => at)).toEqual([252, 254, 256, 258]);
    expect(list.slice(998, 2_000).map(({ at }) => at)).toEqual([1_996, 1_998]);
  });

  it('knows the indexes after each change', () => {
    const list = filled(shuffled(1_000).map((at) => at * 2));
    expect(list.indexOf(item(1_998))).toBe(999);
    list.add(item(1));
    expect(list.indexOf(item(1_998))).toBe(1_000);
    list.remove(item(0));
    list.remove(item(2));
    expect(list.indexOf(item(1_998))).toBe(998);
  });

  it('replaces an item in its place, or moves it', () => {
    const list = filled([1, 2, 3]);
    list.replace(item(2), item(2, 'newer'));
    expect(list.at(1)?.state).toBe('newer');
    list.replace(item(2), item(9));
    expect(places(list)).toEqual([1, 3, 9]);
  });

  it('can be cut anywhere', () => {
    for (const from of [0, 1, 64, 65, 299, 300]) {
      const list = filled(shuffled(300));
      expect(list.cut(from)).toHaveLength(300 - from);
      expect(places(list)).toEqual(Array.from({ length: from }, (_, at) => at));
      list.add(item(from));
      expect(list.indexOf(item(from))).toBe(from);
    }
  });
});
