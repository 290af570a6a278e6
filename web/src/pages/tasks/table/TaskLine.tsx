/** One task: a row of the table, or a card where the screen is narrow. */
import { Badge, Checkbox } from '@mantine/core';
import { type MouseEvent, memo, type ReactNode, useEffect, useRef } from 'react';
import { Link, useNavigate } from 'react-router';
import type { Entry } from '@/live/LiveList';
import { StatusBadge } from '@/ui/StatusBadge';
import type { Row } from '../list/rows';
import { type Column, columnsOf } from './columns';
import classes from './table.module.css';

export interface LineProps {
  entry: Entry<Row>;
  columns: readonly Column[];
  template: string;
  isCard: boolean;
  isActive: boolean;
  isSelected: boolean;
  index: number;
  height: number;
  onToggle: (id: string) => void;
}

const GONE = { left: 'No longer matches', deleted: 'Deleted' };

export const pathOf = (id: string): string => `/tasks/${encodeURIComponent(id)}`;

export const TaskLine = memo(function TaskLine(props: LineProps) {
  const { entry, isCard, isActive, isSelected, index, height, template } = props;
  const navigate = useNavigate();
  const line = useActive(isActive);
  const open = (event: MouseEvent): void => {
    const isControl = event.target instanceof Element && event.target.closest('a, input, button') !== null;
    if (!isControl && !window.getSelection()?.toString()) void navigate(pathOf(entry.row.id));
  };
  return (
    <div
      ref={line}
      role="row"
      aria-rowindex={index + 2}
      className={`${classes.row ?? ''} ${isCard ? (classes.card ?? '') : ''}`}
      style={{
        height,
        transform: `translateY(${index * height}px)`,
        ...(!isCard && { gridTemplateColumns: template }),
      }}
      data-id={entry.row.id}
      data-active={isActive || undefined}
      data-selected={isSelected || undefined}
      data-gone={entry.gone ?? undefined}
      onClick={open}
    >
      {isCard ? <Card {...props} /> : <Cells {...props} />}
    </div>
  );
});

/** Gives the row's link the focus when the row becomes the active one, unless somebody is elsewhere on the page. */
function useActive(isActive: boolean) {
  const line = useRef<HTMLDivElement>(null);
  useEffect(() => {
    if (!isActive) return;
    const table = line.current?.closest('[role=table]');
    const focused = document.activeElement;
    if (focused !== document.body && !table?.contains(focused)) return;
    line.current?.querySelector('a')?.focus({ preventScroll: true });
  }, [isActive]);
  return line;
}

function Cells({ entry: { row, gone }, columns, isSelected, onToggle }: LineProps) {
  const linked =
    columns.find(({ id }) => id === 'name') ?? columns.find(({ id }) => id === 'id') ?? columns[0];
  return (
    <>
      <div role="cell">
        <Select row={row} isSelected={isSelected} onToggle={onToggle} />
      </div>
      {columns.map((column) => (
        <div role="cell" key={column.id} className={classes.cell}>
          {column === linked ? <TaskLink row={row}>{column.cell(row)}</TaskLink> : column.cell(row)}
          {column === linked && gone && <Gone why={gone} />}
        </div>
      ))}
    </>
  );
}

const IN_CARDS = new Set(['status', 'name', 'created', 'outcome']);

function Card({ entry: { row, gone }, columns, isSelected, onToggle }: LineProps) {
  const cell = (id: string): ReactNode => columnsOf([id])[0]?.cell(row);
  const extras = columns.filter(({ id }) => !IN_CARDS.has(id));
  return (
    <>
      <div role="cell">
        <Select row={row} isSelected={isSelected} onToggle={onToggle} />
      </div>
      <div role="cell" className={classes.lines}>
        <div className={classes.line}>
          <StatusBadge status={row.status} />
          <TaskLink row={row}>{row.name}</TaskLink>
          {gone && <Gone why={gone} />}
        </div>
        <div className={classes.line}>
          <span>{cell('created')}</span>
          {(row.error ?? row.progress) && <span>{cell('outcome')}</span>}
        </div>
        <div className={classes.line}>
          {extras.slice(0, 3).map((column) => (
            <small key={column.id}>
              {column.title} {column.cell(row)}
            </small>
          ))}
        </div>
      </div>
    </>
  );
}

function TaskLink({ row, children }: { row: Row; children: ReactNode }) {
  return (
    <Link to={pathOf(row.id)} className={classes.link} tabIndex={0}>
      {children}
    </Link>
  );
}

function Select({ row, isSelected, onToggle }: Pick<LineProps, 'isSelected' | 'onToggle'> & { row: Row }) {
  return (
    <Checkbox
      size="xs"
      checked={isSelected}
      onChange={() => onToggle(row.id)}
      aria-label={`Select ${row.name} ${row.id}`}
    />
  );
}

function Gone({ why }: { why: keyof typeof GONE }) {
  return (
    <Badge size="xs" variant="default" radius="sm" ml={6}>
      {GONE[why]}
    </Badge>
  );
}
