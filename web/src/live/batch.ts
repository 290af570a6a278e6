/** Collects what arrives, and hands it on together: at most once per frame of the screen, and ten times a second. */
const MIN_INTERVAL_MS = 100;
const HIDDEN_INTERVAL_MS = 1_000;

export class Batch<Item> {
  private readonly handOn: (items: readonly Item[]) => void;
  private items: Item[] = [];
  private lastAt = 0;
  private cancel: (() => void) | null = null;

  constructor(handOn: (items: readonly Item[]) => void) {
    this.handOn = handOn;
  }

  add(item: Item): void {
    this.items.push(item);
    this.cancel ??= this.schedule();
  }

  /** Drops what has not been handed on. */
  clear(): void {
    this.cancel?.();
    this.cancel = null;
    this.items = [];
  }

  private schedule(): () => void {
    // A hidden tab draws no frames.
    const wait = document.hidden ? HIDDEN_INTERVAL_MS : this.lastAt + MIN_INTERVAL_MS - performance.now();
    let frame = 0;
    const timer = setTimeout(
      () => {
        if (document.hidden) this.flush();
        else frame = requestAnimationFrame(() => this.flush());
      },
      Math.max(0, wait),
    );
    return () => {
      clearTimeout(timer);
      cancelAnimationFrame(frame);
    };
  }

  private flush(): void {
    const items = this.items;
    this.items = [];
    this.cancel = null;
    this.lastAt = performance.now();
    this.handOn(items);
  }
}
