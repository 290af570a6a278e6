import { Title } from '@mantine/core';

export default function Task() {
  return (
    <Title order={1} size="h3">
      Task
    </Title>
  );
}
