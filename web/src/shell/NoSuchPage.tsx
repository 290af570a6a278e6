import { Anchor, Text, Title } from '@mantine/core';
import { Link } from 'react-router';

export function NoSuchPage() {
  return (
    <>
      <Title order={1} size="h3">
        There is no such page
      </Title>
      <Text>
        Go to the{' '}
        <Anchor component={Link} to="/">
          overview
        </Anchor>
        .
      </Text>
    </>
  );
}
