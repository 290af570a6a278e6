import { Anchor, Group, Title } from '@mantine/core';
import type { ReactNode } from 'react';
import { Link } from 'react-router';

interface Props {
  /** The name of what the page shows. */
  title: string;
  back: { to: string; label: string };
  children?: ReactNode;
}

/** The head of a page of details: the way back to the list, the name, and what can be done with it. */
export function DetailHead({ title, back, children }: Props) {
  return (
    <div>
      <Anchor component={Link} to={back.to} size="sm">
        {back.label}
      </Anchor>
      <Group justify="space-between" align="start">
        <Title order={1} size="h3" style={{ overflowWrap: 'anywhere', minWidth: 0 }}>
          {title}
        </Title>
        {children && <Group gap="xs">{children}</Group>}
      </Group>
    </div>
  );
}
