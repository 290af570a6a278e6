import { Group, Paper, Skeleton, Stack, Text, Title } from '@mantine/core';
import { type ReactNode, useId } from 'react';
import { Problem } from './Problem';

interface Props {
  title: string;
  /** A few words beside the title. */
  hint?: ReactNode;
  /** Controls at the right of the title. */
  actions?: ReactNode;
  /** Whether there is nothing to show yet: placeholders stand in for it. */
  isLoading?: boolean;
  /** Why the content may be old or missing. */
  problem?: string | null;
  onRetry?: () => void;
  children?: ReactNode;
}

/** A part of a page with its own title, loading state and error: it does not blank the others. */
export function Panel({ title, hint, actions, isLoading, problem, onRetry, children }: Props) {
  const id = useId();
  return (
    <Paper withBorder p="md" component="section" aria-labelledby={id} aria-busy={isLoading} miw={0}>
      <Stack gap="sm">
        <Group justify="space-between" gap="xs">
          <Group gap="xs" align="baseline">
            <Title order={2} size="h5" id={id}>
              {title}
            </Title>
            {hint && (
              <Text size="sm" c="dimmed" component="span">
                {hint}
              </Text>
            )}
          </Group>
          {actions}
        </Group>
        {problem && <Problem text={problem} onRetry={onRetry} />}
        {isLoading ? !problem && <Placeholder /> : children}
      </Stack>
    </Paper>
  );
}

function Placeholder() {
  return (
    <Stack gap="xs" aria-hidden>
      <Skeleton height={14} width="60%" />
      <Skeleton height={14} width="80%" />
      <Skeleton height={14} width="40%" />
    </Stack>
  );
}
