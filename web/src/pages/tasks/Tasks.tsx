import { Title } from '@mantine/core';

export default function Tasks() {
  return (
    <Title order={1} size="h3">
      Tasks
    </Title>
  );
}
