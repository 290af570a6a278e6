/** What can complete the search bar: words, names, paths of the metadata that tasks have, and values with their counts. */
import { parse } from 'lossless-json';
import { useEffect, useState } from 'react';
import { type Client, stringifyDocument, useClient } from 'urql';
import { errorText } from '@/api/messages';
import type { TaskFacet, TaskPathsQuery, TaskValuesQuery } from '@/gql/graphql';
import { countText } from '@/ui/numbers';
import { STATUSES } from '@/ui/StatusBadge';
import { TASK_PATHS, TASK_VALUES } from '../list/documents';
import { pathsOf } from '../list/rows';
import { compileNow } from './compile';
import { hasValues, type Place } from './complete';
import { withLiteral, write } from './exact';
import { fieldOf, FIELDS } from './fields';
import { writeMetadataText, writePath, writeText } from './syntax';

export interface Suggestion {
  /** What takes the place of what was typed. */
  written: string;
  label: string;
  hint: string;
}

export interface Suggestions {
  items: readonly Suggestion[];
  /** Why values could not be loaded. */
  problem: string | null;
}

const TIMES = [
  ['<15min', 'in the last 15 minutes'],
  ['<1h', 'in the last hour'],
  ['<24h', 'in the last 24 hours'],
  ['<7d', 'in the last 7 days'],
  ['>1h', 'more than an hour ago'],
  ['today', 'since midnight'],
  ['yesterday', 'the day before'],
] as const;
const NONE: Suggestions = { items: [], problem: null };
const MAX_ITEMS = 50;
const DELAY_MS = 150;

const includes = (text: string, typed: string): boolean => text.toLowerCase().includes(typed.toLowerCase());

const plain = (text: string): Suggestion => ({ written: text, label: text, hint: '' });

/** Returns what needs no request. */
function known({ wants, key, typed }: Place): Suggestion[] {
  if (wants === 'word') {
    return FIELDS.filter((field) => includes(`${field.key} ${field.finds}`, typed)).map(
      ({ key: word, finds, kind }) => ({
        written: kind === 'metadata' ? 'metadata.' : `${word}:`,
        label: kind === 'metadata' ? 'metadata.…' : `${word}:`,
        hint: finds,
      }),
    );
  }
  if (wants === 'value' && fieldOf(key)?.kind === 'yesNo') {
    return ['yes', 'no'].filter((text) => includes(text, typed)).map(plain);
  }
  if (wants === 'value' && fieldOf(key)?.kind === 'time') {
    return TIMES.filter(([text]) => includes(text, typed)).map(([text, hint]) => ({
      written: text,
      label: text,
      hint,
    }));
  }
  return [];
}

/** What a request is for; the same request is not sent again while one types. */
type Wanted = { by: TaskFacet; path: string | null; rest: string } | { by: 'PATHS'; rest: string };

function wanted(place: Place): Wanted | null {
  const { wants, key, path, rest, typed } = place;
  if (wants === 'path') return { by: 'PATHS', rest };
  if (wants === 'word') return typed.length > 1 ? { by: 'NAME', path: null, rest } : null;
  const facet = hasValues(place) ? fieldOf(key)?.facet : undefined;
  return facet ? { by: facet, path, rest } : null;
}

async function load(client: Client, request: Wanted): Promise<Suggestions> {
  const filter = write(compileNow(request.rest).filter);
  if (request.by === 'PATHS') {
    const document = withLiteral(stringifyDocument(TASK_PATHS), filter);
    const { data, error } = await client
      .query<TaskPathsQuery>(document, { filter: filter.filter })
      .toPromise();
    return { items: pathItems(data), problem: error ? errorText(error) : null };
  }
  const { by, path } = request;
  const { data, error } = await client
    .query<TaskValuesQuery>(withLiteral(stringifyDocument(TASK_VALUES), filter), {
      filter: filter.filter,
      by,
      metadataPath: path,
    })
    .toPromise();
  const buckets = data?.tasks.facet ?? [];
  return {
    items: buckets.flatMap(({ value, count }) => valueItem(by, value, count)),
    problem: error ? errorText(error) : null,
  };
}

function pathItems(data: TaskPathsQuery | undefined): Suggestion[] {
  const nodes = data?.tasks.nodes ?? [];
  const paths = nodes.flatMap(({ metadata }) =>
    typeof metadata === 'string' ? pathsOf(parse(metadata)) : [],
  );
  return [...new Set(paths)]
    .sort()
    .map((path) => ({ written: `${writePath(path)}:`, label: path, hint: '' }));
}

function valueItem(by: TaskFacet, value: unknown, count: number): Suggestion[] {
  const hint = countText(count);
  if (typeof value === 'string') {
    return [{ written: by === 'METADATA' ? writeMetadataText(value) : writeText(value), label: value, hint }];
  }
  // The digits of a larger integer are lost in JSON: it can be typed, but not be offered.
  if (typeof value === 'number' && Number.isInteger(value) && !Number.isSafeInteger(value)) return [];
  const text = JSON.stringify(value);
  return [{ written: text, label: text, hint }];
}

export function useSuggestions(place: Place, isOpen: boolean): Suggestions {
  const client = useClient();
  const [loaded, setLoaded] = useState<{ key: string } & Suggestions>();
  const key = isOpen ? JSON.stringify(wanted(place)) : 'null';
  useEffect(() => {
    if (key === 'null') return;
    let isCurrent = true;
    const timer = setTimeout(() => {
      void load(client, JSON.parse(key) as Wanted).then((suggestions) => {
        if (isCurrent) setLoaded({ key, ...suggestions });
      });
    }, DELAY_MS);
    return () => {
      isCurrent = false;
      clearTimeout(timer);
    };
  }, [client, key]);

  const { items, problem } = loaded?.key === key ? loaded : NONE;
  return { items: [...known(place), ...matching(place, items)].slice(0, MAX_ITEMS), problem };
}

function matching(place: Place, items: readonly Suggestion[]): Suggestion[] {
  const { wants, key, typed } = place;
  const found = items.filter(({ label }) => includes(label, typed));
  if (wants === 'word')
    return found.map((item) => ({ ...item, written: `name:${item.written} `, label: `name:${item.label}` }));
  if (key !== 'status') return found;
  // The states that no task has are offered too.
  const others = STATUSES.filter(
    (status) => includes(status, typed) && !found.some(({ label }) => label === status),
  );
  return [...found, ...others.map(plain)];
}
