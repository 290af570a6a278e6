/**
 * The list on the screen: its pages, the changes that arrive, and what people are told about both. It outlives the page
 * of the list for a while, so that who opens a task and comes back finds the list as it was.
 */
import type { Client, CombinedError } from 'urql';
import { stringifyDocument } from 'urql';
import { errorText } from '@/api/messages';
import type {
  TaskFilter,
  TaskListChangesSubscription,
  TaskListQuery,
  TaskListQueryVariables,
  TaskOrder,
} from '@/gql/graphql';
import { Batch } from '@/live/batch';
import { type Change, type Contents, LiveList } from '@/live/LiveList';
import { withLiteral, type Written } from '../search/exact';
import { TASK_LIST } from './documents';
import { ORDERS, type Row, rowMaker, type TaskOrderName } from './rows';

export interface Spec {
  written: Written;
  order: TaskOrderName;
  /** The columns of metadata, arguments and progress. */
  extras: readonly string[];
}

export interface ListState {
  contents: Contents<Row>;
  isLoading: boolean;
  /** Why the last page could not be loaded. */
  error: string | null;
  /** Whether a first page is there. */
  isLoaded: boolean;
  /** Whether the subscription can begin: there is a page that is young enough to continue. */
  isReady: boolean;
  /** Rises when the subscription has to begin anew. */
  session: number;
  /** Why the server ended the subscription; it is tried again. */
  refusal: string | null;
}

const FIRST_PAGE = 50;
const PAGE = 100;
const FADE_MS = 3_000;
const RETRY_MS = 5_000;
const MAX_WAIT_MS = 30_000;
/** After a longer time the list is loaded anew: to replay all changes would take longer. */
const MAX_REPLAY_MS = 300_000;

const ORDER_BY: Record<TaskOrderName, TaskOrder> = {
  newest: { field: 'CREATED_AT', direction: 'DESC' },
  oldest: { field: 'CREATED_AT', direction: 'ASC' },
  finished: { field: 'FINISHED_AT', direction: 'DESC' },
};

/** Returns which large fields the columns need. */
export const neededFields = (extras: readonly string[]) => ({
  withMetadata: extras.some((column) => column.startsWith('metadata.')),
  withKwargs: extras.some((column) => column.startsWith('kwargs.')),
  withProgress: extras.some((column) => column.startsWith('progress.')),
});

export class TaskList {
  readonly spec: Spec;
  /** Where people were, for when they come back. */
  place: { scrollTop: number; activeId: string | null } = { scrollTop: 0, activeId: null };
  /** When the list last was as the server has it, in milliseconds of the epoch by this computer's clock. */
  asOf = 0;
  private readonly client: Client;
  private readonly makeRow: ReturnType<typeof rowMaker>;
  private readonly batch = new Batch<Change<Row>>((changes) => this.flush(changes));
  private readonly listeners = new Set<() => void>();
  private list: LiveList<Row> | null = null;
  /** The list that is being loaded in place of the other. */
  private next: LiveList<Row> | null = null;
  private cursor: { after: string | null; cuts: number } = { after: null, cuts: 0 };
  private newest: string | null = null;
  private isHeld = false;
  private isActive = false;
  private isSweeping = false;
  private load = 0;
  private refusals = 0;
  private timers = new Set<ReturnType<typeof setTimeout>>();
  private state: ListState = {
    contents: new LiveList(ORDERS.newest).contents(),
    isLoading: false,
    error: null,
    isLoaded: false,
    isReady: false,
    session: 0,
    refusal: null,
  };

  constructor(client: Client, spec: Spec) {
    this.client = client;
    this.spec = spec;
    this.makeRow = rowMaker(spec.order, spec.extras);
  }

  subscribe = (listener: () => void): (() => void) => {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  };

  getState = (): ListState => this.state;

  /** Where the subscription continues. */
  since = (): string | null => this.newest;

  /** Begins, or goes on after a time in which nobody looked. */
  start(): void {
    this.isActive = true;
    this.resume();
  }

  /** Goes on after a pause. */
  resume(): void {
    if (this.next || (this.state.isReady && Date.now() - this.asOf <= MAX_REPLAY_MS)) return;
    this.set({ isReady: false });
    this.reload();
  }

  stop(): void {
    this.isActive = false;
    this.load += 1;
    this.next = null;
    this.set({ isLoading: false });
    this.batch.clear();
    this.timers.forEach(clearTimeout);
    this.timers.clear();
    this.isSweeping = false;
  }

  /** Loads the list from its beginning; until it is there, the old one stays. */
  reload = (): void => {
    this.next = new LiveList(ORDERS[this.spec.order]);
    this.next.beginLoad();
    void this.loadPage(this.next, true);
  };

  /** Loads the next page, unless there is none or one is on its way. */
  loadMore = (): void => {
    if (!this.list || this.state.isLoading || !this.state.contents.hasMore) return;
    this.list.beginLoad();
    void this.loadPage(this.list, false);
  };

  retry = (): void => (this.state.isLoaded && this.list ? this.loadMore() : this.reload());

  /** Takes a change, and returns from where to resume. */
  receive({ taskChanges: { at, kind, taskId, task } }: TaskListChangesSubscription): string {
    this.refusals = 0;
    const since = this.renewSince(at);
    this.batch.add({ kind, taskId, at, task: task && this.makeRow(task) });
    return since;
  }

  /** Notes that the subscription has ended, and begins another one soon, later after each time. */
  refused(text: string): void {
    this.set({ refusal: text });
    this.refusals += 1;
    this.later(Math.min(MAX_WAIT_MS, 1_000 * 2 ** this.refusals), () => {
      this.set({ session: this.state.session + 1, refusal: null });
    });
  }

  /** Notes that the list is as the server has it: its subscription lives. */
  confirm(): void {
    this.asOf = Date.now();
  }

  /** Notes where people are. */
  remember(place: Partial<TaskList['place']>): void {
    this.place = { ...this.place, ...place };
  }

  /** Keeps rows from moving while somebody reads. */
  hold(isHeld: boolean): void {
    if (isHeld === this.isHeld) return;
    this.isHeld = isHeld;
    if (!isHeld) this.release();
  }

  /** Shows the new rows, whether somebody reads or not. */
  release = (): void => {
    if (this.state.contents.isOverfull) this.reload();
    this.list?.release();
    this.show();
  };

  private async loadPage(list: LiveList<Row>, isFirst: boolean): Promise<void> {
    this.load += 1;
    const { load } = this;
    this.set({ isLoading: true, error: null });
    const document = withLiteral(stringifyDocument(TASK_LIST), this.spec.written);
    const { data, error } = await this.client
      .query<TaskListQuery, TaskListQueryVariables>(document, this.variables(isFirst))
      .toPromise();
    if (load !== this.load) return;
    if (data) this.addPage(list, data, isFirst);
    else this.fail(error);
  }

  private addPage(list: LiveList<Row>, { tasks, newest }: TaskListQuery, isFirst: boolean): void {
    const { hasNextPage, endCursor } = tasks.pageInfo;
    list.addPage(tasks.nodes.map(this.makeRow), hasNextPage, this.isHeld);
    if (isFirst) {
      this.list = list;
      this.next = null;
      // Without any task there is nothing to miss but what begins now.
      this.renewSince(newest?.nodes[0]?.updatedAt ?? new Date(Date.now() - RETRY_MS).toISOString());
      this.confirm();
    }
    this.cursor = { after: endCursor, cuts: list.contents().cuts };
    const isReady = isFirst || this.state.isReady;
    this.set({ isLoading: false, isLoaded: true, isReady, contents: list.contents() });
  }

  private renewSince(at: string): string {
    if (this.newest === null || Date.parse(at) > Date.parse(this.newest)) this.newest = at;
    return this.newest;
  }

  private fail(error: CombinedError | undefined): void {
    this.set({ isLoading: false, error: error ? errorText(error) : 'The server sent no answer.' });
    if (error?.networkError) this.later(RETRY_MS, this.retry);
  }

  private variables(isFirst: boolean): TaskListQueryVariables {
    const { written, order, extras } = this.spec;
    const isCut = !isFirst && this.cursor.cuts !== this.list?.contents().cuts;
    return {
      first: isFirst ? FIRST_PAGE : PAGE,
      after: isFirst || isCut ? null : this.cursor.after,
      filter: isCut ? { AND: [written.filter, this.behindLast()] } : written.filter,
      orderBy: ORDER_BY[order],
      isFirst,
      ...neededFields(extras),
    };
  }

  /** Returns the filter of the tasks from the last row on. */
  private behindLast(): TaskFilter {
    const last = this.list?.contents().entries.last()?.row.position ?? 0;
    if (this.spec.order === 'oldest') return { createdAt: { gte: new Date(last).toISOString() } };
    const range = { lt: new Date(last + 1).toISOString() };
    return this.spec.order === 'finished' ? { finishedAt: range } : { createdAt: range };
  }

  private flush(changes: readonly Change<Row>[]): void {
    this.next?.apply(changes, this.isHeld);
    this.list?.apply(changes, this.isHeld);
    this.show();
  }

  private show(): void {
    if (!this.list) return;
    this.set({ contents: this.list.contents() });
    this.sweepSoon();
  }

  /** Lets marked rows fade before they go. */
  private sweepSoon(): void {
    if (this.isHeld || this.isSweeping || this.state.contents.gone === 0) return;
    this.isSweeping = this.later(FADE_MS / 2, () => {
      this.isSweeping = false;
      if (this.isHeld) return;
      this.list?.sweep(Date.now() - FADE_MS);
      this.show();
    });
  }

  /** Runs something later, unless nobody looks; returns whether it will. */
  private later(wait: number, run: () => void): boolean {
    if (!this.isActive) return false;
    const timer = setTimeout(() => {
      this.timers.delete(timer);
      run();
    }, wait);
    this.timers.add(timer);
    return true;
  }

  private set(change: Partial<ListState>): void {
    this.state = { ...this.state, ...change };
    this.listeners.forEach((listener) => listener());
  }
}
