import { type MantineBreakpoint, SimpleGrid, Text } from '@mantine/core';
import type { ReactNode } from 'react';

interface Props {
  /** Names with their values; a name whose value is null is left out. */
  facts: readonly (readonly [name: string, value: ReactNode])[];
  cols?: Partial<Record<MantineBreakpoint | 'base', number>>;
}

/** Names with their values, side by side. */
export function Facts({ facts, cols = { base: 2, sm: 4 } }: Props) {
  const known = facts.filter(([, value]) => value !== null);
  return (
    <SimpleGrid component="dl" cols={cols} spacing="sm" verticalSpacing="xs" m={0}>
      {known.map(([name, value]) => (
        <div key={name} style={{ minWidth: 0 }}>
          <Text component="dt" size="xs" c="dimmed">
            {name}
          </Text>
          <Text component="dd" size="sm" m={0} style={{ overflowWrap: 'anywhere' }}>
            {value}
          </Text>
        </div>
      ))}
    </SimpleGrid>
  );
}
