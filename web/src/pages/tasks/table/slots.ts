/**
 * The elements that rows are drawn in. A row keeps its element for as long as it is drawn, and a new row takes the
 * element of one that is not drawn any more: to fill an element anew costs a fraction of making one.
 */
export class Slots {
  private of = new Map<string, number>();

  /** Returns the element of each row by its number. The same rows get the same elements again. */
  assign(ids: readonly string[]): number[] {
    const before = this.of;
    const kept = new Set(ids.map((id) => before.get(id)));
    let next = 0;
    const free = (): number => {
      while (kept.has(next)) next += 1;
      next += 1;
      return next - 1;
    };
    const numbers = ids.map((id) => before.get(id) ?? free());
    this.of = new Map(ids.map((id, place) => [id, numbers[place] ?? 0]));
    return numbers;
  }
}
