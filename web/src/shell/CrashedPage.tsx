import { Stack, Title } from '@mantine/core';
import { useRouteError } from 'react-router';
import { Problem } from '@/ui/Problem';

/** Stands where a page has failed; the navigation around it still works. */
export function CrashedPage() {
  const error = useRouteError();
  return (
    <Stack>
      <Title order={1} size="h3">
        This page has failed
      </Title>
      <Problem
        text={error instanceof Error ? error.message : String(error)}
        onRetry={() => window.location.reload()}
      />
    </Stack>
  );
}
