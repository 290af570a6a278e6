import { act, renderHook } from '@testing-library/react';
import type { UserManagerSettings } from 'oidc-client-ts';
import { beforeEach, describe, expect, it, vi } from 'vitest';

type Handler = (user?: unknown) => void;

/** The issuer's side of the library: what the page asks it for, and the events that it reports. */
const issuer = vi.hoisted(() => ({
  settings: undefined as UserManagerSettings | undefined,
  handlers: new Map<string, Handler>(),
  user: null as { access_token: string; refresh_token?: string } | null,
  signinRedirect: vi.fn(() => Promise.resolve()),
  signinRedirectCallback: vi.fn<(address: string) => Promise<unknown>>(),
  signinSilent: vi.fn(() => Promise.resolve()),
  removeUser: vi.fn(() => Promise.resolve()),
}));

vi.mock('oidc-client-ts', () => ({
  WebStorageStateStore: vi.fn(),
  UserManager: class {
    events = {
      addUserLoaded: (handler: Handler) => issuer.handlers.set('loaded', handler),
      addAccessTokenExpiring: (handler: Handler) => issuer.handlers.set('expiring', handler),
      addAccessTokenExpired: (handler: Handler) => issuer.handlers.set('expired', handler),
    };
    signinRedirect = issuer.signinRedirect;
    signinRedirectCallback = issuer.signinRedirectCallback;
    signinSilent = issuer.signinSilent;
    removeUser = issuer.removeUser;
    constructor(settings: UserManagerSettings) {
      issuer.settings = settings;
    }
    getUser = () => Promise.resolve(issuer.user);
  },
}));

vi.mock('@/config', () => ({
  config: {
    oidc: { issuer: 'https://login.example.com', clientId: 'board', scope: 'openid', audience: 'tasks' },
  },
}));

async function loaded() {
  vi.resetModules();
  issuer.handlers.clear();
  return { oidc: await import('./oidc'), access: await import('./token') };
}

describe('the sign-in at an issuer', () => {
  beforeEach(() => {
    sessionStorage.clear();
    vi.clearAllMocks();
    issuer.user = null;
    window.history.replaceState(null, '', '/board/');
  });

  it('asks for a token for the API, and comes back to the same place', async () => {
    window.history.replaceState(null, '', '/board/#/tasks?status=FAILURE');
    const { oidc } = await loaded();
    await oidc.signIn();
    expect(issuer.signinRedirect).toHaveBeenCalledWith({ state: '#/tasks?status=FAILURE' });
    expect(issuer.settings).toMatchObject({
      client_id: 'board',
      redirect_uri: `${window.location.origin}/board/`,
      extraQueryParams: { audience: 'tasks' },
      automaticSilentRenew: false,
    });
  });

  it('takes the code out of the address, and the token into the tab', async () => {
    window.history.replaceState(null, '', '/board/?code=secret&state=s');
    issuer.signinRedirectCallback.mockResolvedValue({ access_token: 'jwt', state: '#/tasks' });
    const { oidc, access } = await loaded();
    await oidc.start();
    expect(issuer.signinRedirectCallback).toHaveBeenCalledWith(expect.stringContaining('code=secret'));
    expect(window.location.pathname + window.location.search + window.location.hash).toBe('/board/#/tasks');
    expect(access.token()).toBe('jwt');
  });

  it('shows why it has failed, and leaves no code in the address', async () => {
    window.history.replaceState(null, '', '/board/?error=access_denied&state=s');
    issuer.signinRedirectCallback.mockRejectedValue(new Error('You may not'));
    const { oidc, access } = await loaded();
    const { result } = renderHook(() => oidc.useSignIn());
    await act(() => oidc.start());
    expect(result.current).toEqual({ isBusy: false, error: 'The sign-in has failed: You may not' });
    expect([window.location.search, access.token()]).toEqual(['', null]);
  });

  it('renews a token without a new session, and ends with one that cannot be renewed', async () => {
    sessionStorage.setItem('gql-api.token', 'first');
    const { oidc, access } = await loaded();
    const { result } = renderHook(() => access.useAccess());
    await oidc.start();
    issuer.user = { access_token: 'first', refresh_token: 'r' };
    issuer.handlers.get('expiring')?.();
    await vi.waitFor(() => expect(issuer.signinSilent).toHaveBeenCalledOnce());
    act(() => issuer.handlers.get('loaded')?.({ access_token: 'second' }));
    expect(result.current).toEqual({ token: 'second', session: 0, isRefused: false, isAsked: false });

    issuer.user = { access_token: 'second' };
    issuer.handlers.get('expiring')?.();
    issuer.handlers.get('expired')?.();
    await vi.waitFor(() => expect(access.token()).toBeNull());
    expect(issuer.signinSilent).toHaveBeenCalledOnce();
    expect(issuer.removeUser).toHaveBeenCalled();
  });

  it('lets a token alone that somebody has entered', async () => {
    const { oidc, access } = await loaded();
    access.enterToken('gqt_1');
    await oidc.start();
    issuer.user = { access_token: 'of before', refresh_token: 'r' };
    issuer.handlers.get('expiring')?.();
    issuer.handlers.get('expired')?.();
    await Promise.resolve();
    expect([access.token(), issuer.signinSilent.mock.calls.length]).toEqual(['gqt_1', 0]);
  });
});
