/** The columns of the table: those of every task, and parts of its metadata, arguments and progress. */
import type { ReactNode } from 'react';
import { type Row, splitColumn } from '../list/rows';
import { Badge, Bar, None, RowTime } from './cells';
import { RunTime, WaitTime } from './durations';
import classes from './table.module.css';

export interface Column {
  id: string;
  title: string;
  /** The least width, in pixels, and the share of what is left. */
  width: number;
  grow: number;
  cell: (row: Row) => ReactNode;
}

const dash = <None />;

const time = (at: string | null): ReactNode => (at === null ? dash : <RowTime at={at} />);
const text = (value: string | null): ReactNode => (value ? <span title={value}>{value}</span> : dash);

const column = (id: string, title: string, width: number, cell: Column['cell'], grow = 0): Column => ({
  id,
  title,
  width,
  grow,
  cell,
});

export const COLUMNS: readonly Column[] = [
  column('status', 'Status', 116, (row) => <Status row={row} />),
  column('name', 'Name', 180, ({ name }) => text(name), 2),
  column('queue', 'Queue', 100, ({ queue }) => text(queue), 1),
  column('created', 'Created', 104, ({ createdAt }) => time(createdAt)),
  column('wait', 'Waited', 96, (row) => <WaitTime row={row} />),
  column('run', 'Ran', 96, (row) => <RunTime row={row} />),
  column('outcome', 'Progress or error', 190, (row) => <Outcome row={row} />, 3),
  column('id', 'Id', 310, ({ id }) => <code title={id}>{id}</code>, 1),
  column('worker', 'Worker', 160, ({ worker }) => text(worker), 1),
  column('attempts', 'Attempts', 90, ({ attempts }) => attempts),
  column('priority', 'Priority', 90, ({ priority }) => priority),
  column('scheduled', 'Scheduled for', 124, ({ scheduledFor }) => time(scheduledFor)),
  column('started', 'Started', 104, ({ startedAt }) => time(startedAt)),
  column('finished', 'Ended', 104, ({ finishedAt }) => time(finishedAt)),
  column('updated', 'Changed', 104, ({ updatedAt }) => time(updatedAt)),
  column('error', 'Error type', 150, ({ error }) => text(error?.type ?? null), 1),
];

export const DEFAULT_COLUMNS: readonly string[] = [
  'status',
  'name',
  'queue',
  'created',
  'wait',
  'run',
  'outcome',
];

/** Where the extra columns come from. */
export const SOURCES = ['metadata', 'kwargs', 'progress'] as const;

export const isExtra = (id: string): boolean => {
  const [source, path] = splitColumn(id);
  return path !== '' && (SOURCES as readonly string[]).includes(source);
};

export const isColumn = (id: string): boolean => isExtra(id) || COLUMNS.some((each) => each.id === id);

export function columnsOf(ids: readonly string[]): Column[] {
  return ids.flatMap((id) => {
    if (isExtra(id)) return [column(id, id, 150, ({ extras }) => text(extras[id] ?? null), 1)];
    return COLUMNS.find((each) => each.id === id) ?? [];
  });
}

function Status({ row: { status, isFinal, cancelRequestedAt } }: { row: Row }) {
  if (isFinal || cancelRequestedAt === null) return <Badge status={status} />;
  return (
    <span className={classes.cancelling} title={`${status}: the task was asked to stop`}>
      Cancelling
    </span>
  );
}

function Outcome({ row: { error, progress, isFinal } }: { row: Row }) {
  if (error) {
    return (
      <span title={error.message ? `${error.type}: ${error.message}` : error.type}>
        <b>{error.type}</b>
        {error.message && ` ${error.message}`}
      </span>
    );
  }
  if (!progress || isFinal) return dash;
  const percent = progress.percent === null ? null : Math.round(progress.percent);
  return (
    <span className="task-progress">
      {percent !== null && (
        <>
          <Bar percent={percent} />
          <span className={classes.percent}>{`${percent} %`}</span>
        </>
      )}
      <span className={classes.message} title={progress.message ?? undefined}>
        {progress.message}
      </span>
    </span>
  );
}
