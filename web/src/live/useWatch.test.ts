import { describe, expect, it } from 'vitest';
import { resumeFrom } from './useWatch';

describe('a subscription that resumes', () => {
  it('resumes from the last change', () => {
    const variables = { id: 'a', since: null };
    resumeFrom(variables, { since: '2026-05-01T10:00:00.100000+00:00' });
    expect(variables).toEqual({ id: 'a', since: '2026-05-01T10:00:00.100000+00:00' });
  });

  it('does not go back to the earlier changes of a replay', () => {
    const variables = { since: '2026-05-01T10:00:30.000Z' };
    resumeFrom(variables, { since: '2026-05-01T10:00:05.000000+00:00' });
    expect(variables.since).toBe('2026-05-01T10:00:30.000Z');
  });

  it('keeps its place when a result does not change it', () => {
    const variables = { since: '2026-05-01T10:00:30.000Z' };
    resumeFrom(variables, undefined);
    expect(variables.since).toBe('2026-05-01T10:00:30.000Z');
  });
});
