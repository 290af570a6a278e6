/** One task: a row of the table, or a card where the screen is narrow. */
import { Badge as Mark } from '@mantine/core';
import { memo, type ReactNode, useEffect, useLayoutEffect, useRef } from 'react';
import type { Entry } from '@/live/LiveList';
import type { Row } from '../list/rows';
import { taskPath } from '@/ui/paths';
import { Badge, Check } from './cells';
import { type Column, columnsOf } from './columns';
import classes from './table.module.css';

export interface LineProps {
  /** The address of the board, which the addresses of its pages begin with. */
  root: string;
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

const GONE = { left: 'Left', deleted: 'Deleted' };
const WHY_GONE = { left: 'The task no longer matches the search', deleted: 'The task was deleted' };

/** The place of a task in the list changes with each new task; what is in its row does not. */
export const TaskLine = memo(function TaskLine(props: LineProps) {
  const { root, entry, columns, isCard, isActive, isSelected, index, height, template, onToggle } = props;
  const line = useFocus(entry.row.id, isActive);
  return (
    <div
      ref={line}
      role="row"
      aria-rowindex={index + 2}
      className={isCard ? `${classes.row ?? ''} ${classes.card ?? ''}` : classes.row}
      style={{
        height,
        transform: `translateY(${index * height}px)`,
        ...(!isCard && { gridTemplateColumns: template }),
      }}
      data-id={entry.row.id}
      data-active={isActive || undefined}
      data-selected={isSelected || undefined}
      data-gone={entry.gone ?? undefined}
    >
      <Content {...{ root, entry, columns, isCard, isSelected, onToggle }} />
    </div>
  );
});

type ContentProps = Pick<LineProps, 'root' | 'entry' | 'columns' | 'isCard' | 'isSelected' | 'onToggle'>;

const Content = memo(function Content(props: ContentProps) {
  return props.isCard ? <Card {...props} /> : <Cells {...props} />;
});

/** Gives the row's link the focus when the row becomes the active one, unless somebody is elsewhere on the page. */
function useFocus(id: string, isActive: boolean) {
  const line = useRef<HTMLDivElement>(null);
  // The row of another task may take over the element: it does not take the focus over.
  useLayoutEffect(
    () => () => {
      const focused = document.activeElement;
      if (focused instanceof HTMLElement && line.current?.contains(focused)) focused.blur();
    },
    [id],
  );
  useEffect(() => {
    if (!isActive) return;
    const table = line.current?.closest('[role=table]');
    const focused = document.activeElement;
    if (focused !== document.body && !table?.contains(focused)) return;
    line.current?.querySelector('a')?.focus({ preventScroll: true });
  }, [id, isActive]);
  return line;
}

function Cells({ root, entry: { row, gone }, columns, isSelected, onToggle }: ContentProps) {
  const linked =
    columns.find(({ id }) => id === 'name') ?? columns.find(({ id }) => id === 'id') ?? columns[0];
  return (
    <>
      <div role="cell">
        <Select row={row} isSelected={isSelected} onToggle={onToggle} />
      </div>
      {columns.map((column) => (
        <div role="cell" key={column.id} className={classes.cell}>
          {column === linked && gone && <Gone why={gone} />}
          {column === linked ? (
            <TaskLink root={root} id={row.id}>
              {column.cell(row)}
            </TaskLink>
          ) : (
            column.cell(row)
          )}
        </div>
      ))}
    </>
  );
}

const IN_CARDS = new Set(['status', 'name', 'created', 'outcome']);

function Card({ root, entry: { row, gone }, columns, isSelected, onToggle }: ContentProps) {
  const cell = (id: string): ReactNode => columnsOf([id])[0]?.cell(row);
  const extras = columns.filter(({ id }) => !IN_CARDS.has(id));
  return (
    <>
      <div role="cell">
        <Select row={row} isSelected={isSelected} onToggle={onToggle} />
      </div>
      <div role="cell" className={classes.lines}>
        <div className={classes.line}>
          <Badge status={row.status} />
          <TaskLink root={root} id={row.id}>
            {row.name}
          </TaskLink>
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

/** The table handles the click: a link of the router would cost more than the rest of the row. */
function TaskLink({ root, id, children }: { root: string; id: string; children: ReactNode }) {
  return (
    <a href={`${root}${taskPath(id).slice(1)}`} className={classes.link}>
      {children}
    </a>
  );
}

function Select({ row, isSelected, onToggle }: Pick<ContentProps, 'isSelected' | 'onToggle'> & { row: Row }) {
  return (
    <Check label={`Select ${row.name} ${row.id}`} isChecked={isSelected} onChange={() => onToggle(row.id)} />
  );
}

function Gone({ why }: { why: keyof typeof GONE }) {
  return (
    <Mark size="xs" variant="default" radius="sm" mr={6} title={WHY_GONE[why]}>
      {GONE[why]}
    </Mark>
  );
}
