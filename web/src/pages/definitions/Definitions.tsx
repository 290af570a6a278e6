import { Title } from '@mantine/core';

export default function Definitions() {
  return (
    <Title order={1} size="h3">
      Definitions
    </Title>
  );
}
