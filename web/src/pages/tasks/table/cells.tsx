/**
 * What cells are made of: plain elements. A screen of rows has hundreds of them, and may be drawn anew ten times per
 * second; components of the library would take most of that time.
 */
import { memo, useEffect, useRef } from 'react';
import { useOfNow } from '@/ui/clock';
import { StatusBadge } from '@/ui/StatusBadge';
import { exactTime, relativeTime } from '@/ui/times';
import classes from './table.module.css';

export const Badge = memo(StatusBadge);

export const None = () => (
  <span className={classes.dimmed} role="img" aria-label="none">
    –
  </span>
);

/** A time relative to now. Its title is the exact one, which is made when somebody asks for it: that takes its time. */
export function RowTime({ at }: { at: string }) {
  return (
    <time
      dateTime={at}
      onPointerEnter={({ currentTarget }) => {
        currentTarget.title = exactTime(at);
      }}
    >
      {useOfNow((now) => relativeTime(at, now))}
    </time>
  );
}

/** A part of a whole, in percent. */
export function Bar({ percent }: { percent: number }) {
  return (
    <span
      role="progressbar"
      className={classes.bar}
      aria-valuemin={0}
      aria-valuemax={100}
      aria-valuenow={percent}
      aria-label={`${percent} %`}
    >
      <span style={{ transform: `scaleX(${Math.min(1, percent / 100)})` }} />
    </span>
  );
}

interface CheckProps {
  label: string;
  isChecked: boolean;
  /** Whether it stands for several of which some are checked. */
  isPartly?: boolean;
  onChange: () => void;
}

export function Check({ label, isChecked, isPartly = false, onChange }: CheckProps) {
  const input = useRef<HTMLInputElement>(null);
  useEffect(() => {
    if (input.current) input.current.indeterminate = isPartly;
  }, [isPartly]);
  return (
    <input
      ref={input}
      type="checkbox"
      className={classes.check}
      checked={isChecked}
      onChange={onChange}
      aria-label={label}
    />
  );
}
