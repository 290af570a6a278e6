import { Title } from '@mantine/core';

export default function Queues() {
  return (
    <Title order={1} size="h3">
      Queues
    </Title>
  );
}
