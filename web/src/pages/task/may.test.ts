import { describe, expect, it } from 'vitest';
import type { TaskStatus } from '@/gql/graphql';
import { possible } from './may';

const actions = (status: TaskStatus, attempts: number): string => {
  const isFinal = status === 'SUCCESS' || status === 'FAILURE' || status === 'REVOKED';
  return Object.entries(possible({ status, isFinal, attempts }))
    .filter(([, can]) => can === true)
    .map(([name]) => name)
    .join(' ');
};

describe('what can be done with a task', () => {
  it.each([
    ['SCHEDULED', 0, 'cancel replay reschedule'],
    ['QUEUED', 0, 'cancel replay reschedule'],
    ['QUEUED', 1, 'cancel replay'],
    ['STARTED', 1, 'cancel replay'],
    ['RETRY', 1, 'cancel replay'],
    ['SUCCESS', 1, 'replay delete'],
    ['FAILURE', 1, 'replay delete'],
    ['REVOKED', 0, 'replay delete'],
  ] as const)('that is %s after %d attempts: %s', (status, attempts, expected) => {
    expect(actions(status, attempts)).toBe(expected);
  });
});
