/** The rows on the screen out of thousands in memory. */
import { Button, Checkbox, Loader, Text } from '@mantine/core';
import { IconArrowUp } from '@tabler/icons-react';
import { useVirtualizer } from '@tanstack/react-virtual';
import { type UIEvent, useEffect, useRef, useState } from 'react';
import { Problem } from '@/ui/Problem';
import type { ListState, TaskList } from '../list/TaskList';
import type { Selection } from '../useSelection';
import type { Column } from './columns';
import { TaskLine } from './TaskLine';
import classes from './table.module.css';

const ROW_HEIGHT = 40;
const CARD_HEIGHT = 92;
/** The next page is loaded when fewer rows than this are below. */
const MARGIN = 30;

interface Props {
  list: TaskList;
  state: ListState;
  columns: readonly Column[];
  isCards: boolean;
  activeId: string | null;
  selection: Selection;
  /** Called when somebody begins or ends to read what is not at the top, or has the pointer on the rows. */
  onReading: (isReading: boolean) => void;
  onShowNew: () => void;
}

export function TaskTable(props: Props) {
  const { list, state, columns, isCards, activeId, selection } = props;
  const { contents } = state;
  const { entries, held, isOverfull } = contents;
  const height = isCards ? CARD_HEIGHT : ROW_HEIGHT;
  const scroll = useRef<HTMLDivElement>(null);
  const reading = useReading(list, props.onReading);
  const [scrollTop] = useState(list.place.scrollTop);
  // eslint-disable-next-line react-hooks/incompatible-library -- no memoised component receives what it returns
  const virtualizer = useVirtualizer({
    count: entries.length,
    getScrollElement: () => scroll.current,
    estimateSize: () => height,
    overscan: 8,
    initialOffset: scrollTop,
    getItemKey: (index) => entries[index]?.row.id ?? index,
  });
  const lines = virtualizer.getVirtualItems();
  const lastIndex = lines.at(-1)?.index ?? -1;
  const isNearEnd = state.isLoaded && state.error === null && lastIndex >= entries.length - MARGIN;
  useEffect(() => {
    if (isNearEnd) list.loadMore();
  }, [list, isNearEnd, entries.length]);
  useEffect(() => virtualizer.measure(), [virtualizer, height]);

  const activeIndex = activeId === null ? -1 : entries.findIndex(({ row }) => row.id === activeId);
  useEffect(() => {
    if (activeIndex >= 0) virtualizer.scrollToIndex(activeIndex, { align: 'auto' });
    // What the row moved to is no reason to scroll: only another row is.
    // eslint-disable-next-line react-hooks/exhaustive-deps
  }, [activeId]);

  const showNew = (): void => {
    scroll.current?.scrollTo({ top: 0 });
    props.onShowNew();
  };
  const template = `20px ${columns.map(({ width, grow }) => (grow ? `minmax(${width}px, ${grow}fr)` : `${width}px`)).join(' ')}`;
  const width = columns.reduce((sum, column) => sum + column.width + 12, 20 + 24);
  return (
    <div className={classes.frame}>
      {held > 0 && (
        <Button
          className={classes.new}
          size="compact-sm"
          leftSection={<IconArrowUp size={14} />}
          onClick={showNew}
        >
          {`${held}${isOverfull ? '+' : ''} new ${held === 1 ? 'task' : 'tasks'}`}
        </Button>
      )}
      <div ref={scroll} className={classes.scroll} tabIndex={0} onScroll={reading.onScroll}>
        <div
          role="table"
          aria-label="Tasks"
          aria-rowcount={contents.hasMore ? -1 : entries.length + 1}
          aria-busy={state.isLoading}
          style={isCards ? undefined : { minWidth: width }}
        >
          <Head {...props} template={template} />
          <div
            role="rowgroup"
            className={classes.body}
            style={{ height: virtualizer.getTotalSize() }}
            onPointerEnter={(event) => event.pointerType === 'mouse' && reading.onPointer(true)}
            onPointerLeave={() => reading.onPointer(false)}
          >
            {lines.map(({ index, key }) => {
              const entry = entries[index];
              if (!entry) return null;
              return (
                <TaskLine
                  key={key}
                  entry={entry}
                  columns={columns}
                  template={template}
                  isCard={isCards}
                  isActive={entry.row.id === activeId}
                  isSelected={selection.ids.has(entry.row.id)}
                  index={index}
                  height={height}
                  onToggle={selection.toggle}
                />
              );
            })}
          </div>
        </div>
        <Foot {...props} />
      </div>
    </div>
  );
}

/** Notes whether the rows must not move: away from the top, or with the pointer on them. */
function useReading(list: TaskList, onReading: (isReading: boolean) => void) {
  const at = useRef({ isScrolled: list.place.scrollTop > 0, hasPointer: false });
  const note = (change: Partial<typeof at.current>): void => {
    at.current = { ...at.current, ...change };
    onReading(at.current.isScrolled || at.current.hasPointer);
  };
  return {
    onScroll: ({ currentTarget: { scrollTop } }: UIEvent): void => {
      list.remember({ scrollTop });
      note({ isScrolled: scrollTop > 4 });
    },
    onPointer: (hasPointer: boolean): void => note({ hasPointer }),
  };
}

function Head({ state, columns, isCards, selection, template }: Props & { template: string }) {
  const ids = state.contents.entries.filter(({ gone }) => gone === null).map(({ row }) => row.id);
  const isAll = ids.length > 0 && selection.ids.size >= ids.length;
  return (
    <div
      role="row"
      aria-rowindex={1}
      className={classes.head}
      style={{ gridTemplateColumns: isCards ? '20px 1fr' : template }}
    >
      <div role="columnheader">
        <Checkbox
          size="xs"
          aria-label="Select all tasks that are loaded"
          checked={isAll}
          indeterminate={selection.ids.size > 0 && !isAll}
          onChange={() => (selection.ids.size > 0 ? selection.clear() : selection.set(ids))}
        />
      </div>
      {isCards ? (
        <div role="columnheader">Task</div>
      ) : (
        columns.map(({ id, title }) => (
          <div role="columnheader" key={id} className={classes.cell} title={title}>
            {title}
          </div>
        ))
      )}
    </div>
  );
}

/** What stands behind the last row. */
function Foot({ list, state }: Props) {
  const { error, isLoading, isLoaded, contents } = state;
  if (error !== null) return <Problem text={error} onRetry={list.retry} />;
  if (isLoading || !isLoaded) {
    return (
      <div className={classes.empty}>
        <Loader size="sm" aria-label="Loading tasks" />
      </div>
    );
  }
  if (contents.hasMore) return null;
  return (
    <Text size="sm" c="dimmed" className={classes.empty}>
      {contents.entries.length === 0 ? 'No task matches.' : 'These are all.'}
    </Text>
  );
}
