/** The rows on the screen out of thousands in memory. */
import { Button, Text } from '@mantine/core';
import { IconArrowUp } from '@tabler/icons-react';
import { type MouseEvent, type UIEvent, useEffect, useRef, useState } from 'react';
import { useHref, useNavigate } from 'react-router';
import { Loading } from '@/ui/Loading';
import { Problem } from '@/ui/Problem';
import { taskPath } from '@/ui/paths';
import type { ListState, TaskList } from '../list/TaskList';
import { useListState } from '../list/useTaskList';
import type { Selection } from '../useSelection';
import { Check } from './cells';
import type { Column } from './columns';
import { Slots } from './slots';
import { TaskLine } from './TaskLine';
import { useRowWindow } from './useRowWindow';
import classes from './table.module.css';

const ROW_HEIGHT = 40;
const CARD_HEIGHT = 92;
const HEAD_HEIGHT = 36;
/** The next page is loaded when fewer rows than this are below. */
const MARGIN = 30;

interface Props {
  list: TaskList;
  columns: readonly Column[];
  isCards: boolean;
  activeId: string | null;
  selection: Selection;
  /** Called when somebody begins or ends to read what is not at the top, or has the pointer on the rows. */
  onReading: (isReading: boolean) => void;
  onShowNew: () => void;
}

const wholeState = (state: ListState): ListState => state;

export function TaskTable(props: Props) {
  const { list, columns, isCards, activeId, selection } = props;
  const state = useListState(list, wholeState);
  const { contents } = state;
  const { entries, held, isOverfull } = contents;
  const count = entries.length;
  const height = isCards ? CARD_HEIGHT : ROW_HEIGHT;
  const reading = useReading(list, props.onReading);
  const [initialTop] = useState(list.place.scrollTop);
  const { scroll, from, to, onScroll, show } = useRowWindow({ count, height, head: HEAD_HEIGHT, initialTop });
  const isNearEnd = state.isLoaded && state.error === null && to > count - MARGIN;
  useEffect(() => {
    if (isNearEnd && !state.isLoading) list.loadMore();
  }, [list, isNearEnd, state.isLoading]);

  const activeIndex = activeId === null ? -1 : entries.indexOf(activeId);
  useEffect(() => {
    if (activeIndex >= 0) show(activeIndex);
    // What the row moved to is no reason to scroll: only another row is.
    // eslint-disable-next-line react-hooks/exhaustive-deps
  }, [activeId]);

  const open = useOpen();
  const root = useHref('/');
  const [slots] = useState(() => new Slots());
  const drawn = entries.slice(from, to);
  const elements = slots.assign(drawn.map(({ row }) => row.id));
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
      <div
        ref={scroll}
        className={classes.scroll}
        tabIndex={0}
        onScroll={(event) => {
          onScroll();
          reading.onScroll(event);
        }}
      >
        <div
          role="table"
          aria-label="Tasks"
          aria-rowcount={contents.hasMore ? -1 : count + 1}
          aria-busy={state.isLoading}
          style={isCards ? undefined : { minWidth: width }}
        >
          <Head {...props} state={state} template={template} />
          <div
            role="rowgroup"
            className={classes.body}
            style={{ height: count * height }}
            onClick={open}
            onPointerEnter={(event) => event.pointerType === 'mouse' && reading.onPointer(true)}
            onPointerLeave={() => reading.onPointer(false)}
          >
            {drawn.map((entry, place) => (
              <TaskLine
                key={elements[place]}
                root={root}
                entry={entry}
                columns={columns}
                template={template}
                isCard={isCards}
                isActive={entry.row.id === activeId}
                isSelected={selection.ids.has(entry.row.id)}
                index={from + place}
                height={height}
                onToggle={selection.toggle}
              />
            ))}
          </div>
        </div>
        <Foot list={list} state={state} />
      </div>
    </div>
  );
}

/** Opens the task of the row that is clicked. A click on a control has a meaning of its own, and so has selecting text. */
function useOpen() {
  const navigate = useNavigate();
  return (event: MouseEvent): void => {
    const { target, ctrlKey, metaKey, shiftKey, altKey } = event;
    if (!(target instanceof Element) || ctrlKey || metaKey || shiftKey || altKey) return;
    const id = target.closest('[data-id]')?.getAttribute('data-id');
    const isLink = target.closest('a') !== null;
    const isControl = target.closest('input, button') !== null;
    if (!id || isControl || (!isLink && window.getSelection()?.toString())) return;
    event.preventDefault();
    void navigate(taskPath(id));
  };
}

/** Notes whether the rows must not move: away from the top, or with the pointer on them. */
function useReading(list: TaskList, onReading: (isReading: boolean) => void) {
  const at = useRef({ isScrolled: list.place.scrollTop > 0, hasPointer: false });
  const isReading = (): boolean => at.current.isScrolled || at.current.hasPointer;
  const note = (change: Partial<typeof at.current>): void => {
    const before = isReading();
    at.current = { ...at.current, ...change };
    if (isReading() !== before) onReading(isReading());
  };
  return {
    onScroll: ({ currentTarget: { scrollTop } }: UIEvent): void => {
      list.remember({ scrollTop });
      note({ isScrolled: scrollTop > 4 });
    },
    onPointer: (hasPointer: boolean): void => note({ hasPointer }),
  };
}

interface HeadProps extends Pick<Props, 'columns' | 'isCards' | 'selection'> {
  state: ListState;
  template: string;
}

function Head({ state, columns, isCards, selection, template }: HeadProps) {
  const { entries, gone } = state.contents;
  const count = entries.length - gone;
  const isAll = count > 0 && selection.ids.size >= count;
  const selectAll = (): void => {
    const there = entries.slice(0, entries.length).filter((entry) => entry.gone === null);
    selection.set(there.map(({ row }) => row.id));
  };
  return (
    <div
      role="row"
      aria-rowindex={1}
      className={classes.head}
      style={{ gridTemplateColumns: isCards ? '20px 1fr' : template }}
    >
      <div role="columnheader">
        <Check
          label="Select all tasks that are loaded"
          isChecked={isAll}
          isPartly={selection.ids.size > 0 && !isAll}
          onChange={() => (selection.ids.size > 0 ? selection.clear() : selectAll())}
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
function Foot({ list, state }: { list: TaskList; state: ListState }) {
  const { error, isLoading, isLoaded, contents } = state;
  if (error !== null) return <Problem text={error} onRetry={list.retry} />;
  if (isLoading || !isLoaded) {
    return (
      <div className={classes.empty}>
        <Loading size="sm" label="Loading tasks" />
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
