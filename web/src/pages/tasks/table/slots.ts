/**
 * The elements that rows are drawn in. A row keeps its element for as long as it is drawn. When most rows of the screen
 * are new, they take over the elements of those that are not drawn any more: to fill an element costs a fraction of
 * making one. A few new rows get new elements, since taking over would move the others in the document.
 */
export class Slots {
  /** In the order of the document. */
  private of = new Map<string, number>();
  private next = 0;

  /** Returns the element of each row by its number. The same rows get the same elements again. */
  assign(ids: readonly string[]): number[] {
    const before = this.of;
    const drawn = new Set(ids);
    const added = ids.filter((id) => !before.has(id)).length;
    const left = [...before].filter(([id]) => !drawn.has(id)).map(([, number]) => number);
    const free = (added > ids.length / 2 ? left : []).values();
    const numbers = ids.map((id) => before.get(id) ?? free.next().value ?? this.next++);
    this.of = new Map(ids.map((id, place) => [id, numbers[place] ?? 0]));
    return numbers;
  }
}
