import { beforeEach, describe, expect, it } from 'vitest';
import { makeStorage } from './storage';

describe('the storage of GraphiQL', () => {
  beforeEach(() => localStorage.clear());

  it('keeps no headers of the history, because they may have a token', () => {
    const item = {
      query: '{ a }',
      variables: '{"headers": 1}',
      headers: '{"Authorization": "Bearer secret"}',
    };
    makeStorage('/graphql').setItem('graphiql:queries', JSON.stringify({ queries: [item] }));
    const stored = makeStorage('/graphql').getItem('graphiql:queries') ?? '';
    expect(JSON.parse(stored)).toEqual({ queries: [{ query: '{ a }', variables: '{"headers": 1}' }] });
    expect(JSON.stringify(localStorage)).not.toContain('secret');
  });

  it('is apart for each API of an origin', () => {
    const [one, other] = [makeStorage('/one/graphql'), makeStorage('/other/graphql')];
    one.setItem('graphiql:query', '{ a }');
    other.setItem('graphiql:query', '{ b }');
    expect([one.length, one.getItem('graphiql:query')]).toEqual([1, '{ a }']);
    one.clear();
    expect([one.length, other.getItem('graphiql:query')]).toEqual([0, '{ b }']);
    other.removeItem('graphiql:query');
    expect(other.length).toBe(0);
  });
});
