import { beforeEach, describe, expect, it } from 'vitest';
import { authorization, enterToken, leave, refuse, token } from './token';

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

  it('stays when an older one is refused late', () => {
    enterToken('gqt_2');
    refuse('gqt_1');
    expect(token()).toBe('gqt_2');
  });
});
