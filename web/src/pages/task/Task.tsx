import { Anchor, Stack, Text, Title } from '@mantine/core';
import { Link, useParams } from 'react-router';
import { useQuery } from 'urql';
import { errorText } from '@/api/messages';
import { useWatch } from '@/live/useWatch';
import { Loading } from '@/ui/Loading';
import { Problem } from '@/ui/Problem';
import { TASK, TASK_UPDATED } from './documents';
import { TaskView } from './TaskView';

/** The page of one task. */
export default function Task() {
  const { id = '' } = useParams();
  return <TaskById key={id} id={id} />;
}

function TaskById({ id }: { id: string }) {
  const [{ data, error }, ask] = useQuery({ query: TASK, variables: { id } });
  if (data?.task) return <TaskView found={data.task} />;
  if (data) return <NoSuchTask id={id} onCreated={() => ask()} />;
  if (!error) return <Loading />;
  return (
    <Stack>
      <Title order={1} size="h3">
        Task
      </Title>
      <Problem text={errorText(error)} onRetry={() => ask()} />
    </Stack>
  );
}

/** The page of an id without a task. A later step of a chain has its id before it is a task: then it appears here. */
function NoSuchTask({ id, onCreated }: { id: string; onCreated: () => void }) {
  useWatch({
    document: TASK_UPDATED,
    variables: { id, wait: true },
    onResult: () => {
      onCreated();
      return undefined;
    },
  });
  return (
    <Stack>
      <Title order={1} size="h3">
        There is no such task
      </Title>
      <Text style={{ overflowWrap: 'anywhere' }}>
        No task has the id <code>{id}</code>, or you may not see it. It may have been deleted. If it is
        created, this page shows it.
      </Text>
      <Anchor component={Link} to="/tasks">
        Go to the tasks
      </Anchor>
    </Stack>
  );
}
