import { act, renderHook } from '@testing-library/react';
import { beforeEach, describe, expect, it } from 'vitest';
import { authorization, enterToken, leave, refuse, renewToken, token, useAccess } from './token';

describe('the token of the tab', () => {
  beforeEach(leave);

  it('is kept for the tab, without the spaces of a copied line', () => {
    enterToken(' gqt_1 \n');
    expect(token()).toBe('gqt_1');
    expect(authorization()).toEqual({ Authorization: 'Bearer gqt_1' });
    expect(sessionStorage.getItem('gql-api.token')).toBe('gqt_1');
  });

  it('is forgotten when the server refuses it', () => {
    enterToken('gqt_1');
    refuse('gqt_1');
    expect(token()).toBeNull();
    expect(sessionStorage.getItem('gql-api.token')).toBeNull();
  });

  it('is asked for when the server refuses a request without one', () => {
    const { result } = renderHook(() => useAccess());
    act(() => refuse(null));
    expect(result.current).toMatchObject({ token: null, isRefused: false, isAsked: true });
    act(() => enterToken('gqt_1'));
    expect(result.current).toMatchObject({ token: 'gqt_1', isAsked: false });
  });

  it('may be renewed while the page goes on', () => {
    enterToken('gqt_1');
    const { result } = renderHook(() => useAccess());
    const { session } = result.current;
    act(() => renewToken('gqt_2'));
    expect(result.current).toMatchObject({ token: 'gqt_2', session });
    expect(sessionStorage.getItem('gql-api.token')).toBe('gqt_2');
    act(() => enterToken('gqt_3'));
    expect(result.current.session).toBe(session + 1);
  });

  it('stays when an older one is refused late', () => {
    enterToken('gqt_2');
    refuse('gqt_1');
    expect(token()).toBe('gqt_2');
  });
});
