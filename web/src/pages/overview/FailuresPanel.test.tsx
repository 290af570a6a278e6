import { MantineProvider } from '@mantine/core';
import { configure, render, screen, waitFor } from '@testing-library/react';
import userEvent from '@testing-library/user-event';
import { MemoryRouter } from 'react-router';
import { Provider } from 'urql';
import { describe, expect, it, vi } from 'vitest';
import { ViewerContext } from '@/access/viewer';
import type { Scope } from '@/gql/graphql';
import { FailuresPanel } from './FailuresPanel';
import type { Failures } from './failures';
import { windowIn } from './windows';

// A machine that does other things too is slow.
vi.setConfig({ testTimeout: 30_000 });
configure({ asyncUtilTimeout: 10_000 });

const FROM = '2030-01-01T00:00:00.000Z';
const NAME = '<img src=x onerror=alert(1)>';
const FAILURES: Failures = {
  groups: [
    {
      name: NAME,
      errorType: 'ValueError',
      count: 3,
      latest: { id: 'a/b', finishedAt: '2030-01-01T00:00:05Z', message: '<script>alert(2)</script>' },
    },
  ],
  total: 3,
  others: 0,
  from: FROM,
};

function show(data: Failures | null, scopes: Scope[] = ['TASKS_READ', 'TASKS_CREATE', 'TASKS_CONTROL']) {
  const mutation = vi.fn((_: unknown, { dryRun }: { dryRun: boolean }) => ({
    toPromise: () =>
      Promise.resolve({ data: { outcome: { matched: 3, changed: dryRun ? 0 : 3, userErrors: [] } } }),
  }));
  const onChange = vi.fn();
  render(
    <MantineProvider env="test">
      <Provider value={{ mutation }}>
        <ViewerContext value={{ subject: 'ops', scopes, expiresAt: null }}>
          <MemoryRouter>
            <FailuresPanel
              failures={{ data, problem: null, refresh: vi.fn(), change: vi.fn() }}
              window={windowIn(new URLSearchParams()).window}
              onChange={onChange}
            />
          </MemoryRouter>
        </ViewerContext>
      </Provider>
    </MantineProvider>,
  );
  return { mutation, onChange };
}

describe('the failures that need attention', () => {
  it('show names and messages as text', () => {
    show(FAILURES);
    expect(screen.getByRole('link', { name: NAME })).toBeDefined();
    expect(screen.getByText('<script>alert(2)</script>')).toBeDefined();
    expect(document.querySelector('img, script')).toBeNull();
    expect(screen.getByRole('link', { name: /^latest/ }).getAttribute('href')).toBe('/tasks/a%2Fb');
  });

  it('are replayed after a question with their number', async () => {
    const { mutation, onChange } = show(FAILURES);
    await userEvent.click(screen.getByRole('button', { name: /^Replay all/ }));
    const confirm = await screen.findByRole('button', { name: 'Replay 3 tasks' });
    expect(mutation.mock.calls.map(([, { dryRun }]) => dryRun)).toEqual([true]);
    await userEvent.click(confirm);
    await waitFor(() => {
      expect(onChange).toHaveBeenCalled();
    });
    expect(mutation.mock.calls.map(([, { dryRun }]) => dryRun)).toEqual([true, false]);
  });

  it('are not deleted when the answer is no', async () => {
    const { mutation } = show(FAILURES);
    await userEvent.click(screen.getByRole('button', { name: /^Delete all/ }));
    await userEvent.click(await screen.findByRole('button', { name: 'Keep' }));
    expect(mutation.mock.calls.map(([, { dryRun }]) => dryRun)).toEqual([true]);
  });

  it.each<[string, Scope[], string[]]>([
    ['nothing', ['TASKS_READ'], []],
    ['replays', ['TASKS_READ', 'TASKS_CREATE'], ['Replay all']],
    ['deletions', ['TASKS_READ', 'TASKS_CONTROL'], ['Delete all']],
  ])('offer %s to who may do no more', (_, scopes, texts) => {
    show(FAILURES, scopes);
    expect(screen.queryAllByRole('button').map(({ textContent }) => textContent)).toEqual(texts);
  });

  it('are none, in words', () => {
    show({ groups: [], total: 0, others: 0, from: FROM });
    expect(screen.getByText(/^None in the last hour/)).toBeDefined();
  });
});
