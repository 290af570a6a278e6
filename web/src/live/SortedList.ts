/**
 * A sorted list in chunks: to find, add, replace or remove an item costs a search and the length of one chunk, whatever
 * the length of the list. An item is found by the order alone, so that the order has to tell any two items apart.
 */

/** A chunk is split when it is longer. */
const MAX_CHUNK = 128;

/** Negative if the first item comes before the second; 0 only for two states of the same item. */
export type Compare<Item> = (one: Item, other: Item) => number;

export class SortedList<Item> {
  private readonly compare: Compare<Item>;
  /** None of them is empty. */
  private chunks: Item[][] = [];
  private count = 0;
  /** The index of the first item of each chunk, as far as it is known. */
  private starts: number[] = [];

  constructor(compare: Compare<Item>) {
    this.compare = compare;
  }

  get length(): number {
    return this.count;
  }

  at(index: number): Item | undefined {
    return this.slice(index, index + 1)[0];
  }

  last(): Item | undefined {
    return this.chunks.at(-1)?.at(-1);
  }

  /** Returns the items from an index on, up to the one before another index. */
  slice(from: number, to: number): Item[] {
    const found: Item[] = [];
    const end = Math.min(to, this.count);
    let index = Math.max(0, from);
    let at = this.chunkAt(index);
    while (index < end) {
      const start = this.startOf(at);
      const chunk = this.chunks[at] ?? [];
      found.push(...chunk.slice(index - start, end - start));
      index = start + chunk.length;
      at += 1;
    }
    return found;
  }

  /** Returns the index of an item; -1 if the list does not have it. */
  indexOf(item: Item): number {
    const [at, place] = this.find(item);
    return this.has(item, at, place) ? this.startOf(at) + place : -1;
  }

  add(item: Item): void {
    const [at, place] = this.find(item);
    const chunk = this.chunks[at];
    this.count += 1;
    this.forgetStarts(at);
    if (chunk === undefined) {
      this.chunks.push([item]);
      return;
    }
    chunk.splice(place, 0, item);
    if (chunk.length > MAX_CHUNK) this.chunks.splice(at + 1, 0, chunk.splice(MAX_CHUNK / 2));
  }

  /** Removes an item; returns whether the list had it. */
  remove(item: Item): boolean {
    const [at, place] = this.find(item);
    const chunk = this.chunks[at];
    if (chunk === undefined || !this.has(item, at, place)) return false;
    chunk.splice(place, 1);
    if (chunk.length === 0) this.chunks.splice(at, 1);
    this.count -= 1;
    this.forgetStarts(at);
    return true;
  }

  /** Puts a newer state of an item in the place of the older one, or where the order has it now. */
  replace(item: Item, by: Item): void {
    const [at, place] = this.find(item);
    const chunk = this.chunks[at];
    if (chunk !== undefined && this.has(item, at, place) && this.compare(item, by) === 0) {
      chunk[place] = by;
    } else {
      this.remove(item);
      this.add(by);
    }
  }

  /** Removes the items from an index on, and returns them. */
  cut(from: number): Item[] {
    const removed = this.slice(from, this.count);
    const at = this.chunkAt(from);
    const kept = this.chunks[at]?.slice(0, from - this.startOf(at)) ?? [];
    this.chunks.splice(at, Infinity, ...(kept.length > 0 ? [kept] : []));
    this.count -= removed.length;
    this.forgetStarts(at);
    return removed;
  }

  private has(item: Item, at: number, place: number): boolean {
    const found = this.chunks[at]?.[place];
    return found !== undefined && this.compare(found, item) === 0;
  }

  /** Returns the chunk and the place in it where an item is, or belongs. */
  private find(item: Item): [at: number, place: number] {
    const isBefore = (other: Item | undefined): boolean =>
      other !== undefined && this.compare(other, item) < 0;
    const at = Math.min(
      search(this.chunks.length, (each) => isBefore(this.chunks[each]?.at(-1))),
      Math.max(0, this.chunks.length - 1),
    );
    const chunk = this.chunks[at] ?? [];
    return [at, search(chunk.length, (place) => isBefore(chunk[place]))];
  }

  private chunkAt(index: number): number {
    const after = search(this.chunks.length, (at) => this.startOf(at) <= index);
    return Math.max(0, after - 1);
  }

  private startOf(at: number): number {
    while (this.starts.length <= at) {
      const before = this.starts.length - 1;
      this.starts.push(before < 0 ? 0 : (this.starts[before] ?? 0) + (this.chunks[before]?.length ?? 0));
    }
    return this.starts[at] ?? 0;
  }

  private forgetStarts(behind: number): void {
    this.starts.length = Math.min(this.starts.length, behind + 1);
  }
}

/** Returns the first of so many places for which something does not hold; it holds for all before that. */
function search(places: number, holds: (place: number) => boolean): number {
  let [low, high] = [0, places];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (holds(middle)) low = middle + 1;
    else high = middle;
  }
  return low;
}
