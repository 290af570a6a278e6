/**
 * Loads again and again, gently: once per second on average, never twice at a time, less often from a slow server, and
 * not while the tab is hidden. What was asked for meanwhile is loaded once, afterwards.
 */

const INTERVAL_MS = 1_000;
/** So many loads may follow each other at once, so that an event need not wait because a load came by itself before. */
const BURST = 3;
const SLOW_MS = 1_000;
/** A slow server is asked for at most a third of the time. */
const REST = 2;

export interface Outcome<T> {
  data?: T;
  error?: unknown;
}

interface Options<T> {
  load: () => Promise<T>;
  onOutcome: (outcome: Outcome<T>) => void;
  /** Loads by itself after this time without a request; null never does. */
  everyMs: number | null;
}

export class Refresher<T> {
  readonly #options: Options<T>;
  #isWanted = false;
  #isLoading = false;
  #hasStopped = false;
  #notBefore = 0;
  /** When the loads so far would have ended their turns, had each of them waited for its own. */
  #paidUntil = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(options: Options<T>) {
    this.#options = options;
    document.addEventListener('visibilitychange', this.#onVisibility);
    this.refresh();
  }

  /** Asks for a load: at once, or as soon as one is allowed. */
  readonly refresh = (): void => {
    this.#isWanted = true;
    this.#schedule();
  };

  readonly stop = (): void => {
    this.#hasStopped = true;
    clearTimeout(this.#timer);
    document.removeEventListener('visibilitychange', this.#onVisibility);
  };

  readonly #onVisibility = (): void => {
    if (this.#isWanted) this.#schedule();
  };

  #schedule(): void {
    clearTimeout(this.#timer);
    if (this.#hasStopped || this.#isLoading) return;
    const { everyMs } = this.#options;
    if (!this.#isWanted) {
      if (everyMs !== null) this.#timer = setTimeout(this.refresh, everyMs);
    } else if (!document.hidden) {
      this.#timer = setTimeout(() => void this.#load(), Math.max(0, this.#notBefore - performance.now()));
    }
  }

  async #load(): Promise<void> {
    const { load, onOutcome } = this.#options;
    const began = performance.now();
    this.#isWanted = false;
    this.#isLoading = true;
    const outcome = await load().then(
      (data): Outcome<T> => ({ data }),
      (error: unknown): Outcome<T> => ({ error }),
    );
    this.#isLoading = false;
    if (this.#hasStopped) return;
    const ended = performance.now();
    const rest = ended - began > SLOW_MS ? REST * (ended - began) : 0;
    this.#paidUntil = Math.max(this.#paidUntil, began) + INTERVAL_MS;
    this.#notBefore = Math.max(this.#paidUntil - (BURST - 1) * INTERVAL_MS, ended + rest);
    onOutcome(outcome);
    this.#schedule();
  }
}
