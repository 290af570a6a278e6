import '@mantine/core/styles.css';
import 'graphiql/style.css';
import '@graphiql/plugin-explorer/style.css';
import '@/playground/playground.css';
import 'graphiql/setup-workers/vite';
import { MantineProvider } from '@mantine/core';
import { StrictMode } from 'react';
import { createRoot } from 'react-dom/client';
import { start } from '@/access/oidc';
import { SignIn } from '@/access/SignIn';
import { useAccess } from '@/access/token';
import { config } from '@/config';
import { Playground } from '@/playground/Playground';
import { cssVariablesResolver, theme } from '@/theme';

document.title = `${config.title} playground`;

function Page() {
  const { token, session, isAsked } = useAccess();
  if (token === null && (config.authentication || isAsked)) {
    return (
      <MantineProvider theme={theme} cssVariablesResolver={cssVariablesResolver} defaultColorScheme="auto">
        <SignIn />
      </MantineProvider>
    );
  }
  return <Playground key={session} />;
}

void start();
const root = document.getElementById('root');
if (root) {
  createRoot(root).render(
    <StrictMode>
      <Page />
    </StrictMode>,
  );
}
