import { describe, expect, it } from 'vitest';
import { type Branch, type Member, withPage } from './family';

const member = (id: string, second: number, isFinal = false): Member =>
  ({ id, isFinal, updatedAt: `2030-01-01T00:00:0${second}Z` }) as Member;

const branch = (...members: Member[]): Branch => ({ members, endCursor: null, hasMore: false, error: null });

describe('a page of children', () => {
  it('does not take back what events have told while it was loaded', () => {
    const known = branch(member('a', 5, true), member('b', 1));
    const page = branch(member('a', 1), member('b', 2), member('c', 1));
    expect(withPage(known, page, true).members).toEqual([
      member('a', 5, true),
      member('b', 2),
      member('c', 1),
    ]);
  });

  it('replaces the others if it is the first one, and continues them if not', () => {
    const known = branch(member('a', 1), member('b', 1));
    const ids = (isFirst: boolean): string[] =>
      withPage(known, branch(member('b', 1), member('c', 1)), isFirst).members.map(({ id }) => id);
    expect(ids(true)).toEqual(['b', 'c']);
    expect(ids(false)).toEqual(['a', 'b', 'c']);
    expect(withPage(undefined, branch(member('c', 1)), true).members).toHaveLength(1);
  });
});
