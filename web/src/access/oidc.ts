/**
 * Sign-in at an OpenID Connect issuer, by the code flow with PKCE. The tokens are kept in the sessionStorage of the tab.
 * They are renewed with a refresh token, if the issuer gives one; otherwise somebody signs in again when they expire.
 */
import type { User, UserManager, UserManagerSettings } from 'oidc-client-ts';
import { useSyncExternalStore } from 'react';
import { config, type Oidc } from '@/config';
import { enterToken, onAccessChange, refuse, renewToken, token } from './token';

interface Progress {
  /** Whether the browser is on its way to the issuer, or back from it. */
  isBusy: boolean;
  error: string | null;
}

let progress: Progress = { isBusy: false, error: null };
const listeners = new Set<() => void>();
let made: Promise<UserManager> | undefined;

function report(next: Progress): void {
  progress = next;
  listeners.forEach((listener) => listener());
}

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

export const useSignIn = (): Progress => useSyncExternalStore(subscribe, () => progress);

/** Continues the sign-in with which the browser comes back, and keeps the tokens of an earlier one fresh. */
export async function start(): Promise<void> {
  if (!config.oidc) return;
  const parameters = new URLSearchParams(window.location.search);
  const isBack = parameters.has('state') && (parameters.has('code') || parameters.has('error'));
  try {
    const manager = await managerOf(config.oidc);
    if (isBack) await finish(manager);
    else if (token() !== null) await manager.getUser();
  } catch (error) {
    report({ isBusy: false, error: textOf(error) });
  }
}

/** Leaves the page for the issuer, which sends the browser back to the same place. */
export async function signIn(): Promise<void> {
  if (!config.oidc) return;
  report({ isBusy: true, error: null });
  try {
    const manager = await managerOf(config.oidc);
    await manager.signinRedirect({ state: window.location.hash });
  } catch (error) {
    report({ isBusy: false, error: textOf(error) });
  }
}

async function finish(manager: UserManager): Promise<void> {
  report({ isBusy: true, error: null });
  const address = window.location.href;
  // The code is in no history and no bookmark, also if the sign-in fails.
  window.history.replaceState(null, '', window.location.pathname);
  const user = await manager.signinRedirectCallback(address);
  const hash = user.state;
  // Fragments are relative to the <base> of the page, which may be another page.
  if (typeof hash === 'string' && hash) window.location.replace(window.location.pathname + hash);
  report({ isBusy: false, error: null });
  enterToken(user.access_token);
}

function managerOf(oidc: Oidc): Promise<UserManager> {
  made ??= make(oidc);
  return made;
}

async function make(oidc: Oidc): Promise<UserManager> {
  const { UserManager, WebStorageStateStore } = await import('oidc-client-ts');
  const store = () => new WebStorageStateStore({ store: window.sessionStorage });
  const manager = new UserManager({ ...settingsOf(oidc), userStore: store(), stateStore: store() });
  manager.events.addUserLoaded((user) => {
    if (token() !== null) renewToken(user.access_token);
  });
  manager.events.addAccessTokenExpiring(() => void renew(manager));
  manager.events.addAccessTokenExpired(() => void expire(manager));
  onAccessChange(() => {
    if (token() === null) void manager.removeUser();
  });
  return manager;
}

const settingsOf = (oidc: Oidc): UserManagerSettings => ({
  authority: oidc.issuer,
  client_id: oidc.clientId,
  scope: oidc.scope,
  redirect_uri: window.location.origin + window.location.pathname,
  // Auth0 issues a JSON Web Token only for an audience. Other issuers ignore the parameter.
  extraQueryParams: oidc.audience === null ? {} : { audience: oidc.audience },
  // It would use a frame where there is no refresh token, which the policy of the page forbids.
  automaticSilentRenew: false,
});

async function renew(manager: UserManager): Promise<void> {
  const user = await manager.getUser();
  if (!isOurs(user) || !user.refresh_token) return;
  try {
    await manager.signinSilent();
  } catch (error) {
    // The token is still valid for a minute; after that the person is asked to sign in.
    report({ isBusy: false, error: textOf(error) });
  }
}

async function expire(manager: UserManager): Promise<void> {
  const user = await manager.getUser();
  if (isOurs(user)) refuse(user.access_token);
}

/** Whether the token of the page is one of this sign-in: somebody may have entered another one. */
const isOurs = (user: User | null): user is User => user !== null && user.access_token === token();

const textOf = (error: unknown): string =>
  `The sign-in has failed: ${error instanceof Error ? error.message : String(error)}`;
