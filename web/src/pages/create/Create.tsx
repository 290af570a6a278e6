import { Title } from '@mantine/core';

export default function Create() {
  return (
    <Title order={1} size="h3">
      Create
    </Title>
  );
}
