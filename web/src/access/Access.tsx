/** Who has access sees the pages; who has none is asked for a token. */
import { Center, Container } from '@mantine/core';
import { type ReactNode, useEffect, useMemo } from 'react';
import { Provider, useQuery } from 'urql';
import { makeClient } from '@/api/client';
import { errorText } from '@/api/messages';
import { config } from '@/config';
import { makeSocket } from '@/live/socket';
import { SocketContext } from '@/live/SocketContext';
import { Loading } from '@/ui/Loading';
import { Problem } from '@/ui/Problem';
import { SignIn } from './SignIn';
import { useAccess } from './token';
import { VIEWER, ViewerContext } from './viewer';

export function Access({ children }: { children: ReactNode }) {
  const { token, session, isAsked } = useAccess();
  if (token === null && (config.authentication || isAsked)) return <SignIn />;
  return <Connected key={session}>{children}</Connected>;
}

/** The connections of one person: for another one they begin anew. */
function Connected({ children }: { children: ReactNode }) {
  const client = useMemo(() => makeClient(), []);
  const socket = useMemo(() => makeSocket(), []);
  useEffect(() => () => void socket.dispose(), [socket]);
  return (
    <Provider value={client}>
      <SocketContext value={socket}>
        <Viewed>{children}</Viewed>
      </SocketContext>
    </Provider>
  );
}

function Viewed({ children }: { children: ReactNode }) {
  const [{ data, error }, ask] = useQuery({ query: VIEWER });
  if (data) return <ViewerContext value={data.viewer}>{children}</ViewerContext>;
  if (error) {
    return (
      <Container size="xs" mt="20vh">
        <Problem text={errorText(error)} onRetry={() => ask()} />
      </Container>
    );
  }
  return (
    <Center h="100vh">
      <Loading />
    </Center>
  );
}
