import { Title } from '@mantine/core';

export default function Workers() {
  return (
    <Title order={1} size="h3">
      Workers
    </Title>
  );
}
