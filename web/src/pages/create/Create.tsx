/** The page that creates a task, or repeats one with other arguments. */
import { Stack, Title } from '@mantine/core';
import { useSearchParams } from 'react-router';
import { useQuery } from 'urql';
import { errorText } from '@/api/messages';
import { useMay } from '@/access/viewer';
import { Loading } from '@/ui/Loading';
import { Problem } from '@/ui/Problem';
import { CreateForm } from './CreateForm';
import { DEFINITIONS, ORIGINAL } from './documents';

export default function Create() {
  const [search] = useSearchParams();
  const from = search.get('from');
  const mayRead = useMay('OPERATE');
  const [{ data: known, error: unknown }, ask] = useQuery({ query: DEFINITIONS, pause: !mayRead });
  const [{ data: repeated, error }, askAgain] = useQuery({
    query: ORIGINAL,
    variables: { id: from ?? '' },
    pause: from === null,
  });
  const isLoading = (mayRead && !known && !unknown) || (from !== null && !repeated && !error);
  return (
    <Stack>
      <Title order={1} size="h3">
        {from === null ? 'Create a task' : 'Replay with other arguments'}
      </Title>
      {unknown && <Problem text={errorText(unknown)} onRetry={() => ask()} />}
      {error && <Problem text={errorText(error)} onRetry={() => askAgain()} />}
      {from !== null && repeated?.task === null && (
        <Problem text={`There is no task with the id ${from}, or you may not see it.`} />
      )}
      {isLoading ? (
        <Loading />
      ) : (
        (from === null || repeated?.task) && (
          <CreateForm
            key={from}
            definitions={known?.taskDefinitions ?? []}
            original={from === null ? null : (repeated?.task ?? null)}
          />
        )
      )}
    </Stack>
  );
}
