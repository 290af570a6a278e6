/** Filters for people who do not type: they change the text of the search, and show what it says. */
import { Button, Chip, Group, Menu, NativeSelect } from '@mantine/core';
import { IconFilterPlus } from '@tabler/icons-react';
import { STATUS_COLORS, STATUSES } from '@/ui/StatusBadge';
import type { TaskOrderName } from '../list/rows';
import { FIELDS } from './fields';
import { valuesOf, withValues } from './syntax';
import classes from '../tasks.module.css';

const TIMES = [
  { value: '', label: 'Any time' },
  { value: '<15min', label: 'Last 15 minutes' },
  { value: '<1h', label: 'Last hour' },
  { value: '<24h', label: 'Last 24 hours' },
  { value: '<7d', label: 'Last 7 days' },
];

const ORDERS: { value: TaskOrderName; label: string }[] = [
  { value: 'newest', label: 'Newest first' },
  { value: 'oldest', label: 'Oldest first' },
  { value: 'finished', label: 'Last ended first' },
];

interface Props {
  query: string;
  onSearch: (query: string) => void;
  /** Begins a term in the search bar, whose values are then completed. */
  onBegin: (word: string) => void;
  order: TaskOrderName;
  onOrder: (order: TaskOrderName) => void;
}

export function QuickFilters({ query, onSearch, onBegin, order, onOrder }: Props) {
  const statuses = valuesOf(query, 'status').map((status) => status.toUpperCase());
  return (
    <Group gap={6} className={classes.filters}>
      <Chip.Group
        multiple
        value={statuses}
        onChange={(chosen) => onSearch(withValues(query, 'status', chosen))}
      >
        <Group gap={4} wrap="nowrap" role="group" aria-label="Status">
          {STATUSES.map((status) => (
            <Chip
              key={status}
              value={status}
              size="xs"
              variant="light"
              color={STATUS_COLORS[status]}
              radius="sm"
            >
              {status}
            </Chip>
          ))}
        </Group>
      </Chip.Group>
      <TimeSelect query={query} onSearch={onSearch} />
      <NativeSelect
        size="xs"
        aria-label="Order"
        data={ORDERS}
        value={order}
        onChange={(event) => onOrder(event.currentTarget.value as TaskOrderName)}
      />
      <Menu position="bottom-start">
        <Menu.Target>
          <Button size="xs" px="xs" variant="default" leftSection={<IconFilterPlus size={14} />}>
            Filter by
          </Button>
        </Menu.Target>
        <Menu.Dropdown>
          {FIELDS.filter(({ key }) => key !== 'status').map(({ key, finds, kind }) => (
            <Menu.Item key={key} onClick={() => onBegin(kind === 'metadata' ? 'metadata.' : `${key}:`)}>
              {finds}
            </Menu.Item>
          ))}
        </Menu.Dropdown>
      </Menu>
    </Group>
  );
}

function TimeSelect({ query, onSearch }: Pick<Props, 'query' | 'onSearch'>) {
  const value = valuesOf(query, 'created').join(',');
  const isListed = TIMES.some((each) => each.value === value);
  return (
    <NativeSelect
      size="xs"
      aria-label="Created"
      data={isListed ? TIMES : [...TIMES, { value, label: `Created ${value}` }]}
      value={value}
      onChange={(event) => {
        const chosen = event.currentTarget.value;
        onSearch(withValues(query, 'created', chosen ? [chosen] : []));
      }}
    />
  );
}
