/** The live list of tasks. Everything that it shows follows from its address. */
import { Alert, Group, Title } from '@mantine/core';
import { IconAlertTriangle } from '@tabler/icons-react';
import { useMediaQuery } from '@mantine/hooks';
import { useEffect, useMemo, useRef, useState } from 'react';
import { useNavigate } from 'react-router';
import { BulkDialog } from '@/bulk/BulkDialog';
import { useBulk } from '@/bulk/useBulk';
import { setPaused, usePaused } from '@/live/pause';
import { useCommands } from '@/shell/commands';
import { taskPath } from '@/ui/paths';
import { ActionsMenu } from './ActionsMenu';
import { TaskWatch } from './list/TaskWatch';
import { useTaskCount } from './list/useTaskCount';
import { useListState, useTaskList } from './list/useTaskList';
import { compileNow } from './search/compile';
import { write } from './search/exact';
import { QuickFilters } from './search/QuickFilters';
import { type Begun, SearchBar } from './search/SearchBar';
import { SearchHelp } from './search/SearchHelp';
import { ColumnsMenu } from './table/ColumnsMenu';
import { columnsOf, isExtra } from './table/columns';
import { TaskTable } from './table/TaskTable';
import { Count, LiveState } from './TaskState';
import { useCursor } from './useCursor';
import { useSelection } from './useSelection';
import { useTaskActions } from './useTaskActions';
import { useTaskKeys } from './useTaskKeys';
import { useTasksUrl } from './useTasksUrl';
import { ViewsMenu } from './ViewsMenu';
import classes from './tasks.module.css';

export default function Tasks() {
  const [{ q, columns, order, problems }, url] = useTasksUrl();
  const [round, setRound] = useState(0);
  const isPaused = usePaused();
  const shownColumns = useMemo(() => columnsOf(columns), [columns]);
  const isCards = useMediaQuery('(max-width: 48em)');
  const extras = columns.filter(isExtra);
  const key = JSON.stringify([q, order, extras, round]);
  const compiled = compileNow(q);
  const list = useTaskList(key, () => ({ written: write(compiled.filter), order, extras }), isPaused);
  // The rest of the state changes ten times per second: only the table may draw itself anew for that.
  const isReady = useListState(list, (state) => state.isReady);
  const session = useListState(list, (state) => state.session);
  const count = useTaskCount(list, isPaused);
  const selection = useSelection(JSON.stringify([q, order]));
  const cursor = useCursor(list);
  const bulk = useBulk();
  const actions = useTaskActions(
    { list, selected: selection.ids, activeId: cursor.activeId, problems: compiled.problems },
    bulk,
  );
  const input = useRef<HTMLInputElement>(null);
  const [begun, setBegun] = useState<Begun | null>(null);
  const [isHelp, setHelp] = useState(false);
  const navigate = useNavigate();

  const [reading, setReading] = useState({ key, isReading: list.place.scrollTop > 0 });
  const isHeld =
    (reading.key === key && reading.isReading) ||
    cursor.activeId !== null ||
    selection.ids.size > 0 ||
    bulk.bulk !== null;
  useEffect(() => list.hold(isHeld), [list, isHeld]);

  const refresh = (): void => setRound(round + 1);
  const pause = (): void => setPaused(!isPaused);
  const focus = (): void => {
    const text = input.current?.value.trimEnd() ?? '';
    // The next term can be typed at once.
    setBegun({ query: q, text: text === '' ? '' : `${text} ` });
  };
  useTaskKeys({
    j: () => cursor.move(1),
    k: () => cursor.move(-1),
    Enter: cursor.activeId === null ? undefined : () => void navigate(taskPath(cursor.activeId ?? '')),
    x: () => cursor.activeId !== null && selection.toggle(cursor.activeId),
    Escape: () => {
      selection.clear();
      cursor.leave();
    },
    '/': focus,
    p: pause,
    c: () => actions.ask('cancel'),
    r: () => actions.ask('replay'),
  });
  useCommands([
    { id: 'search', label: 'Search tasks', description: '/', run: focus },
    {
      id: 'pause',
      label: isPaused ? 'Continue live updates' : 'Pause live updates',
      description: 'p',
      run: pause,
    },
    { id: 'refresh', label: 'Load the list anew', run: refresh },
    ...actions.allowed.map((action) => ({
      id: action,
      label: `${action[0]?.toUpperCase() ?? ''}${action.slice(1)} ${actions.name}`,
      run: () => actions.ask(action),
    })),
  ]);

  const messages = [...compiled.problems, ...problems];
  return (
    <div className={classes.page}>
      <Group justify="space-between" gap="xs">
        <Group gap="xs">
          <Title order={1} size="h3">
            Tasks
          </Title>
          <Count {...count} />
        </Group>
        <Group gap={6} wrap="nowrap" className={classes.tools}>
          <LiveState list={list} isPaused={isPaused} onRefresh={refresh} />
          <ViewsMenu />
          <ColumnsMenu columns={columns} onChange={url.setColumns} />
          <ActionsMenu name={actions.name} allowed={actions.allowed} onAction={actions.ask} />
        </Group>
      </Group>
      <SearchBar query={q} begun={begun} onSearch={url.setQuery} onHelp={() => setHelp(true)} input={input} />
      <QuickFilters
        query={q}
        onSearch={url.setQuery}
        onBegin={(word) => setBegun({ query: q, text: `${q} ${word}`.trim() })}
        order={order}
        onOrder={url.setOrder}
      />
      {messages.length > 0 && (
        <Alert variant="default" p="xs" role="alert" icon={<IconAlertTriangle size={18} />}>
          {messages.map((message) => (
            <div key={message}>{message}</div>
          ))}
        </Alert>
      )}
      <TaskTable
        key={key}
        list={list}
        columns={shownColumns}
        isCards={isCards}
        activeId={cursor.activeId}
        selection={selection}
        onReading={(isReading) => setReading({ key, isReading })}
        onShowNew={() => {
          cursor.leave();
          list.release();
        }}
      />
      {isReady && !isPaused && <TaskWatch key={`${key} ${session}`} list={list} />}
      <BulkDialog {...bulk} />
      <SearchHelp opened={isHelp} onClose={() => setHelp(false)} />
    </div>
  );
}
