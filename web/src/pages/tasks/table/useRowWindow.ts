/** Which rows are on the screen. All rows have one height, so that their number does not matter and none is measured. */
import { type RefObject, useEffect, useEffectEvent, useLayoutEffect, useRef, useState } from 'react';

/** So many rows are drawn above and below those that are seen. */
const OVERSCAN = 4;

interface Options {
  count: number;
  /** The height of a row, in pixels. */
  height: number;
  /** The height of what covers the first rows, in pixels. */
  head: number;
  /** How far down people were when they left, in pixels. */
  initialTop: number;
}

export interface RowWindow {
  scroll: RefObject<HTMLDivElement | null>;
  /** The first row that is drawn, and the one behind the last. */
  from: number;
  to: number;
  /** Has to be called when the element is scrolled. */
  onScroll: () => void;
  /** Scrolls as little as needed to show a row. */
  show: (index: number) => void;
}

export function useRowWindow({ count, height, head, initialTop }: Options): RowWindow {
  const scroll = useRef<HTMLDivElement>(null);
  const [view, setView] = useState(() => ({
    first: Math.floor(initialTop / height),
    rows: Math.ceil(window.innerHeight / height),
  }));
  const measure = (): void => {
    const { scrollTop = 0, clientHeight = 0 } = scroll.current ?? {};
    const [first, rows] = [Math.floor(scrollTop / height), Math.ceil(clientHeight / height)];
    setView((before) => (before.first === first && before.rows === rows ? before : { first, rows }));
  };
  const measureNow = useEffectEvent(measure);
  useLayoutEffect(() => {
    if (scroll.current) scroll.current.scrollTop = initialTop;
  }, [initialTop]);
  useEffect(() => {
    if (!scroll.current) return;
    const observer = new ResizeObserver(() => measureNow());
    observer.observe(scroll.current);
    return () => observer.disconnect();
  }, [height]);

  const first = Math.max(0, Math.min(view.first, count - view.rows));
  return {
    scroll,
    from: Math.max(0, first - OVERSCAN),
    to: Math.min(count, first + view.rows + OVERSCAN),
    onScroll: measure,
    show: (index) => {
      const element = scroll.current;
      if (!element) return;
      const [top, bottom] = [index * height, (index + 1) * height + head - element.clientHeight];
      if (element.scrollTop > top) element.scrollTop = top;
      else if (element.scrollTop < bottom) element.scrollTop = bottom;
    },
  };
}
