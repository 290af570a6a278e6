import { Group, Select, Text, TextInput } from '@mantine/core';
import { useMemo } from 'react';
import { useNow } from './clock';
import { exactTime, relativeTime } from './times';
import { rfc3339, type ZonedTime, zones } from './zonedTime';

interface Props {
  value: ZonedTime;
  onChange: (value: ZonedTime) => void;
  label: string;
  error?: string | null;
}

/** A date, a time of day and a time zone. Beside them stands the moment that they mean. */
export function ZonedTimeInput({ value, onChange, label, error }: Props) {
  const now = useNow();
  const choices = useMemo(() => [...new Set([value.zone, ...zones()])], [value.zone]);
  const at = rfc3339(value);
  return (
    <div>
      <Group gap="xs" align="end" grow preventGrowOverflow={false}>
        <TextInput
          type="datetime-local"
          step={1}
          label={label}
          value={value.local}
          error={error}
          onChange={(event) => onChange({ ...value, local: event.currentTarget.value })}
        />
        <Select
          label="Time zone"
          searchable
          allowDeselect={false}
          data={choices}
          limit={100}
          value={value.zone}
          onChange={(zone) => zone && onChange({ ...value, zone })}
        />
      </Group>
      <Text size="xs" c="dimmed" mt={4}>
        {at === null ? 'Enter a date and a time.' : `${exactTime(at)}, ${relativeTime(at, now)}`}
      </Text>
    </div>
  );
}
