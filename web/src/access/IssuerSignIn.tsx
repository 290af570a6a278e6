/** The button that leads to the issuer of tokens, where the deployment has one. */
import { Alert, Button, Divider } from '@mantine/core';
import type { Oidc } from '@/config';
import { signIn, useSignIn } from './oidc';

export function IssuerSignIn({ oidc }: { oidc: Oidc }) {
  const { isBusy, error } = useSignIn();
  return (
    <>
      {error !== null && (
        <Alert color="red" role="alert">
          {error}
        </Alert>
      )}
      <Button onClick={() => void signIn()} loading={isBusy}>
        Sign in at {new URL(oidc.issuer).host}
      </Button>
      <Divider label="or" />
    </>
  );
}
