/** The state of the page is its address: controls write there, and everything is read from there. */
import { useMemo } from 'react';
import { useSearchParams } from 'react-router';
import { ORDERS, type TaskOrderName } from './list/rows';
import { DEFAULT_COLUMNS, isColumn } from './table/columns';

export interface TasksUrl {
  /** The text of the search. */
  q: string;
  columns: readonly string[];
  order: TaskOrderName;
  /** What the address has and the page does not know. */
  problems: readonly string[];
}

export interface TasksUrlSetters {
  setQuery: (q: string) => void;
  setColumns: (columns: readonly string[]) => void;
  setOrder: (order: TaskOrderName) => void;
}

export function readUrl(params: URLSearchParams): TasksUrl {
  const named = params.get('cols')?.split(',').filter(Boolean).map(decode) ?? [];
  const columns = [...new Set(named.filter(isColumn))];
  const order = params.get('order') ?? 'newest';
  const isOrder = Object.hasOwn(ORDERS, order);
  return {
    q: params.get('q') ?? '',
    columns: columns.length > 0 ? columns : DEFAULT_COLUMNS,
    order: isOrder ? (order as TaskOrderName) : 'newest',
    problems: [
      ...named.filter((column) => !isColumn(column)).map((column) => `There is no column “${column}”.`),
      ...(isOrder ? [] : [`There is no order “${order}”; the newest task is first.`]),
    ],
  };
}

/** Commas separate columns, so that those of a path are encoded once more. */
export const writeColumns = (columns: readonly string[]): string =>
  columns.map((column) => column.replace(/[%,]/g, encodeURIComponent)).join(',');

function decode(text: string): string {
  return text.replace(/%2C/gi, ',').replace(/%25/g, '%');
}

export function useTasksUrl(): [TasksUrl, TasksUrlSetters] {
  const [params, setParams] = useSearchParams();
  const set = (key: string, value: string, replace: boolean): void =>
    setParams(
      (now) => {
        if (value) now.set(key, value);
        else now.delete(key);
        return now;
      },
      { replace },
    );
  const url = useMemo(() => readUrl(params), [params]);
  return [
    url,
    {
      setQuery: (q) => set('q', q, false),
      setColumns: (columns) => set('cols', writeColumns(columns), true),
      setOrder: (order) => set('order', order === 'newest' ? '' : order, false),
    },
  ];
}
