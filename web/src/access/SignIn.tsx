/** The form that asks for a token. */
import { Alert, Button, Container, Paper, PasswordInput, Stack, Text, Title } from '@mantine/core';
import { useState } from 'react';
import { config } from '@/config';
import { IssuerSignIn } from './IssuerSignIn';
import { enterToken, useAccess } from './token';

export function SignIn() {
  const [text, setText] = useState('');
  const { isRefused } = useAccess();
  return (
    <Container size="xs" pt="15vh" component="main">
      <Paper withBorder p="xl">
        <form
          onSubmit={(event) => {
            event.preventDefault();
            if (text.trim()) enterToken(text);
          }}
        >
          <Stack>
            <Title order={1} size="h3">
              {config.title}
            </Title>
            {isRefused && (
              <Alert color="red" role="alert">
                The server does not accept this token any more. It may have expired or been revoked.
              </Alert>
            )}
            {config.oidc && <IssuerSignIn oidc={config.oidc} />}
            <PasswordInput
              label="Token"
              description="An API token or an access token. This tab keeps it until you close it."
              value={text}
              onChange={(event) => setText(event.currentTarget.value)}
              autoComplete="off"
              data-autofocus
            />
            <Button type="submit" variant={config.oidc ? 'default' : 'filled'} disabled={!text.trim()}>
              Continue
            </Button>
            <Text size="xs" c="dimmed">
              An operator makes tokens with <code>gql-api token create</code>.
            </Text>
          </Stack>
        </form>
      </Paper>
    </Container>
  );
}
