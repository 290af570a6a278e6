/** A JSON value as a tree that folds. It draws what is open only, a part at a time: a large value does not slow the tab. */
import { ActionIcon, Button, Text } from '@mantine/core';
import { IconChevronDown, IconChevronRight } from '@tabler/icons-react';
import { isLosslessNumber } from 'lossless-json';
import { type ReactNode, useState } from 'react';
import { isObject, type Json, jsonText } from './exact';
import { LongText } from './LongText';
import classes from './JsonTree.module.css';

type Path = readonly (string | number)[];

/** What stands beside a value that is not an object or array, like a link. */
export type LeafAction = (path: Path, value: Json) => ReactNode;

const PART = 100;
const MAX_OPEN = 20;

export function JsonTree({
  value,
  leafAction,
  label,
}: {
  value: Json;
  leafAction?: LeafAction;
  label: string;
}) {
  return (
    <div className={classes.tree} role="group" aria-label={label}>
      <Value value={value} path={[]} leafAction={leafAction} isOpen />
    </div>
  );
}

interface Props {
  value: Json;
  path: Path;
  leafAction?: LeafAction;
  isOpen: boolean;
}

function Value(props: Props) {
  const { value } = props;
  if (Array.isArray(value)) return <Branch {...props} keys={value.map((_, at) => at)} />;
  if (isObject(value)) return <Branch {...props} keys={Object.keys(value)} />;
  return (
    <>
      <Leaf value={value} />
      {props.leafAction?.(props.path, value)}
    </>
  );
}

function Leaf({ value }: { value: Json }) {
  if (typeof value === 'string') return <LongText text={JSON.stringify(value)} className={classes.text} />;
  if (isLosslessNumber(value)) return <span className={classes.number}>{value.value}</span>;
  return <span className={classes.word}>{jsonText(value)}</span>;
}

function Branch({ value, path, leafAction, isOpen, keys }: Props & { keys: readonly (string | number)[] }) {
  const [opened, setOpened] = useState(isOpen);
  const [shown, setShown] = useState(PART);
  const isList = Array.isArray(value);
  const name = isList
    ? `${keys.length} ${keys.length === 1 ? 'item' : 'items'}`
    : `${keys.length} ${keys.length === 1 ? 'key' : 'keys'}`;
  if (keys.length === 0) return <span>{isList ? '[]' : '{}'}</span>;
  return (
    <>
      <ActionIcon
        variant="subtle"
        color="gray"
        size={18}
        aria-expanded={opened}
        aria-label={`${opened ? 'Fold' : 'Unfold'} ${path.at(-1) ?? 'all'}`}
        onClick={() => setOpened(!opened)}
      >
        {opened ? <IconChevronDown size={14} /> : <IconChevronRight size={14} />}
      </ActionIcon>
      <Text span c="dimmed" size="xs">
        {isList ? '[' : '{'}
        {name}
        {isList ? ']' : '}'}
      </Text>
      {opened && (
        <ul className={classes.children}>
          {keys.slice(0, shown).map((key) => (
            <li key={key}>
              <span className={classes.key}>{key === '' ? '""' : key}</span>:{' '}
              <Value
                value={
                  isList ? (value[key as number] ?? null) : ((value as Record<string, Json>)[key] ?? null)
                }
                path={[...path, key]}
                leafAction={leafAction}
                isOpen={path.length === 0 && keys.length <= MAX_OPEN}
              />
            </li>
          ))}
        </ul>
      )}
      {opened && shown < keys.length && (
        <Button size="compact-xs" variant="subtle" onClick={() => setShown(shown + PART)}>
          Show {Math.min(PART, keys.length - shown)} more of {keys.length - shown}
        </Button>
      )}
    </>
  );
}
