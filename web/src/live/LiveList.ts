/**
 * A list in memory: pages from the API, changed by the events of a live list. It never moves what somebody reads: while
 * it is held, new rows wait, and rows that have left the list stay where they are, marked. What a change costs does not
 * depend on the number of rows.
 */
import { SortedList } from './SortedList';

/** What every row of a live list has. */
export interface Listed {
  id: string;
  revision: number;
  updatedAt: string;
}

export interface Entry<Row> {
  row: Row;
  /** Why the row is no longer part of the list; null while it is. */
  gone: 'left' | 'deleted' | null;
  /** When it left, in milliseconds of the epoch by this computer's clock; 0 while it is part of the list. */
  goneAt: number;
}

/** A change as the subscription taskChanges sends it. */
export interface Change<Row> {
  kind: 'UPDATED' | 'LEFT' | 'DELETED';
  taskId: string;
  at: string;
  task: Row | null;
}

/** The order of the list. */
export interface Order<Row> {
  /** Negative if the first row comes before the second; 0 only for two states of one row. */
  compare: (one: Row, other: Row) => number;
  /** Whether the list can have the row at all: a list by end has no unfinished tasks. */
  has: (row: Row) => boolean;
}

/** The rows as they are now, not a copy: thousands of them are not copied for each change. */
export interface Entries<Row> {
  readonly length: number;
  at: (index: number) => Entry<Row> | undefined;
  last: () => Entry<Row> | undefined;
  slice: (from: number, to: number) => readonly Entry<Row>[];
  /** Returns the index of the row with an id; -1 without such a row. */
  indexOf: (id: string) => number;
}

export interface Contents<Row> {
  entries: Entries<Row>;
  /** How many of the entries have left the list, and wait to be removed. */
  gone: number;
  /** How many new rows wait to be shown. */
  held: number;
  /** Whether there were more new rows than the list keeps: to show them all, load the list anew. */
  isOverfull: boolean;
  /** Whether there are rows behind the last one. */
  hasMore: boolean;
  /** How often the end of the list was forgotten: a cursor from before does not continue it. */
  cuts: number;
}

const MAX_HELD = 1_000;
const MAX_ENTRIES = 20_000;
const KEPT_ENTRIES = 1_000;

export class LiveList<Row extends Listed> {
  private readonly order: Order<Row>;
  private readonly rows: SortedList<Entry<Row>>;
  private readonly entries: Entries<Row>;
  private readonly index = new Map<string, Entry<Row>>();
  /** The ids of the entries that have left the list. */
  private readonly gone = new Set<string>();
  private readonly held = new Map<string, Row>();
  private isOverfull = false;
  private hasMore = true;
  private cuts = 0;
  /** The newest change of each task since a page was asked for: the page may be older than the change. */
  private duringLoad: Map<string, Change<Row>> | null = null;
  private last: Contents<Row> | null = null;

  constructor(order: Order<Row>) {
    this.order = order;
    const rows = new SortedList<Entry<Row>>((one, other) => order.compare(one.row, other.row));
    this.rows = rows;
    this.entries = {
      get length() {
        return rows.length;
      },
      at: (index) => rows.at(index),
      last: () => rows.last(),
      slice: (from, to) => rows.slice(from, to),
      indexOf: (id) => {
        const entry = this.index.get(id);
        return entry ? rows.indexOf(entry) : -1;
      },
    };
  }

  /** Returns the same object until the list changes. */
  contents(): Contents<Row> {
    this.last ??= {
      entries: this.entries,
      gone: this.gone.size,
      held: this.held.size,
      isOverfull: this.isOverfull,
      hasMore: this.hasMore,
      cuts: this.cuts,
    };
    return this.last;
  }

  /** Keeps the changes that arrive before the page does. */
  beginLoad(): void {
    this.duringLoad = new Map();
  }

  /** Adds a page: rows that the list has are replaced only by newer ones. */
  addPage(rows: readonly Row[], hasMore: boolean, isHeld: boolean): void {
    for (const row of rows) {
      const entry = this.index.get(row.id);
      if (entry) this.renew(entry, row);
      else this.insert(this.takeHeld(row));
    }
    this.hasMore = hasMore;
    const missed = [...(this.duringLoad?.values() ?? [])];
    this.duringLoad = null;
    this.apply(missed, isHeld);
  }

  apply(changes: readonly Change<Row>[], isHeld: boolean): void {
    for (const change of changes) {
      this.duringLoad?.set(change.taskId, change);
      if (change.kind !== 'UPDATED') this.remove(change.taskId, change.kind === 'LEFT' ? 'left' : 'deleted');
      else if (change.task) this.update(change.task, isHeld);
    }
    if (!isHeld) this.trim();
    this.last = null;
  }

  /** Shows the rows that wait. */
  release(): void {
    for (const row of this.held.values()) this.insert(row);
    this.held.clear();
    this.last = null;
  }

  /** Removes the rows that left the list before a time. Returns whether rows are left that wait for that. */
  sweep(before = Infinity): boolean {
    for (const id of this.gone) {
      const entry = this.index.get(id);
      if (entry && entry.goneAt <= before) this.forget(entry, true);
    }
    this.last = null;
    return this.gone.size > 0;
  }

  private update(row: Row, isHeld: boolean): void {
    const entry = this.index.get(row.id);
    if (entry) {
      this.renew(entry, row);
    } else if (!this.order.has(row) || this.isBehind(row)) {
      return;
    } else if (!isHeld) {
      this.insert(this.takeHeld(row));
    } else if (this.held.size < MAX_HELD || this.held.has(row.id)) {
      this.held.set(row.id, this.newer(this.held.get(row.id), row));
    } else {
      this.isOverfull = true;
    }
  }

  /** Whether a row belongs behind the last loaded one: it comes with its page. */
  private isBehind(row: Row): boolean {
    const last = this.rows.last();
    return this.hasMore && (last === undefined || this.order.compare(row, last.row) > 0);
  }

  private renew(entry: Entry<Row>, row: Row): void {
    if (entry.gone === 'deleted') return;
    const newer = this.newer(entry.row, row);
    if (newer === entry.row && entry.gone === null) return;
    // A database that has lost a write can take the end of a task back, and with it the place of its row.
    if (this.order.has(newer)) this.replace(entry, { row: newer, gone: null, goneAt: 0 });
    else this.remove(row.id, 'left');
  }

  private remove(id: string, gone: 'left' | 'deleted'): void {
    this.held.delete(id);
    const entry = this.index.get(id);
    if (entry && entry.gone !== 'deleted') this.replace(entry, { row: entry.row, gone, goneAt: Date.now() });
  }

  private replace(entry: Entry<Row>, by: Entry<Row>): void {
    this.rows.replace(entry, by);
    this.index.set(by.row.id, by);
    if (by.gone === null) this.gone.delete(by.row.id);
    else this.gone.add(by.row.id);
    this.last = null;
  }

  private insert(row: Row): void {
    const entry = { row, gone: null, goneAt: 0 };
    this.index.set(row.id, entry);
    this.rows.add(entry);
    this.last = null;
  }

  /** Forgets an entry; `isListed` is whether it still is among the rows. */
  private forget(entry: Entry<Row>, isListed: boolean): void {
    if (isListed) this.rows.remove(entry);
    this.index.delete(entry.row.id);
    this.gone.delete(entry.row.id);
  }

  private takeHeld(row: Row): Row {
    const held = this.held.get(row.id);
    this.held.delete(row.id);
    return this.newer(held, row);
  }

  /** Returns the newer of two states. A revision can occur twice after a failover of the database; then time decides. */
  private newer(known: Row | undefined, row: Row): Row {
    if (known === undefined) return row;
    const isNewer = row.revision > known.revision || Date.parse(row.updatedAt) > Date.parse(known.updatedAt);
    return isNewer ? row : known;
  }

  /** Forgets the end of a list that has grown for hours: it comes back page by page. */
  private trim(): void {
    if (this.rows.length <= MAX_ENTRIES) return;
    for (const entry of this.rows.cut(KEPT_ENTRIES)) this.forget(entry, false);
    this.hasMore = true;
    this.cuts += 1;
  }
}
