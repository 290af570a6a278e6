import { useVirtualizer } from '@tanstack/react-virtual';
import { useEffect, useRef } from 'react';
import { exactTime } from '@/ui/times';
import classes from './LogLines.module.css';
import type { Line } from './useLog';

const TIME = new Intl.DateTimeFormat(undefined, {
  hour: '2-digit',
  minute: '2-digit',
  second: '2-digit',
  fractionalSecondDigits: 3,
  hourCycle: 'h23',
});
// Not more than a line of one row has: measured lines then only push others down, never up.
const ROW_PX = 19;
const END_PX = 24;

interface Props {
  lines: readonly Line[];
  find: string;
  /** Whether the last line stays in sight when others follow. */
  isFollowing: boolean;
  onFollow: (isFollowing: boolean) => void;
}

/** Lines of a log, of which only those in sight are in the page. */
export function LogLines({ lines, find, isFollowing, onFollow }: Props) {
  const frame = useRef<HTMLDivElement>(null);
  const top = useRef(0);
  // eslint-disable-next-line react-hooks/incompatible-library -- the component is not compiled, and hands the virtualizer to no other
  const virtualizer = useVirtualizer({
    count: lines.length,
    getScrollElement: () => frame.current,
    estimateSize: () => ROW_PX,
    getItemKey: (index) => lines[index]?.cursor ?? index,
    overscan: 20,
  });
  const height = virtualizer.getTotalSize();
  useEffect(() => {
    if (isFollowing && frame.current) frame.current.scrollTop = frame.current.scrollHeight;
  }, [isFollowing, height]);
  const onScroll = (): void => {
    const { scrollTop, scrollHeight, clientHeight } = frame.current ?? document.documentElement;
    if (scrollHeight - scrollTop - clientHeight < END_PX) onFollow(true);
    else if (scrollTop < top.current) onFollow(false);
    top.current = scrollTop;
  };
  return (
    <div
      ref={frame}
      className={classes.frame}
      onScroll={onScroll}
      tabIndex={0}
      role="log"
      aria-label="Log lines"
      aria-live="off"
    >
      <div style={{ height, position: 'relative' }}>
        {virtualizer.getVirtualItems().map(({ index, key, start }) => {
          const line = lines[index];
          if (!line) return null;
          return (
            <div
              key={key}
              ref={virtualizer.measureElement}
              data-index={index}
              data-level={line.level}
              className={classes.line}
              style={{ transform: `translateY(${start}px)` }}
            >
              <time dateTime={line.at} title={exactTime(line.at)} className={classes.time}>
                {TIME.format(new Date(line.at))}
              </time>
              <span className={classes.level}>{line.level}</span>
              <span className={classes.message}>
                <Marked text={line.message} find={find} />
              </span>
            </div>
          );
        })}
      </div>
    </div>
  );
}

const MAX_MARKS = 100;

/** A text in which what is searched for is marked. */
function Marked({ text, find }: { text: string; find: string }) {
  if (!find) return text;
  const parts = partsOf(text, find);
  return parts.map((part, at) => (at % 2 === 1 ? <mark key={at}>{part}</mark> : part));
}

/** Returns a text split at what is found in it: every second part is a find. */
export function partsOf(text: string, find: string): string[] {
  const lower = text.toLowerCase();
  // A few characters have another length in lower case: then nothing is marked, rather than the wrong place.
  if (lower.length !== text.length) return [text];
  const wanted = find.toLowerCase();
  const parts: string[] = [];
  let from = 0;
  for (
    let at = lower.indexOf(wanted);
    at !== -1 && parts.length < MAX_MARKS;
    at = lower.indexOf(wanted, from)
  ) {
    parts.push(text.slice(from, at), text.slice(at, at + wanted.length));
    from = at + wanted.length;
  }
  return [...parts, text.slice(from)];
}
