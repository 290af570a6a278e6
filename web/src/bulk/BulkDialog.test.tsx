import { MantineProvider } from '@mantine/core';
import { configure, render, screen, waitFor } from '@testing-library/react';
import userEvent from '@testing-library/user-event';
import { Provider } from 'urql';
import { describe, expect, it, vi } from 'vitest';
import type { TaskFilter } from '@/gql/graphql';
import { BulkDialog } from './BulkDialog';
import { type Action, useBulk } from './useBulk';

// A machine that does other things too is slow.
vi.setConfig({ testTimeout: 30_000 });
configure({ asyncUtilTimeout: 10_000 });

const PER_CALL = 10_000;

/** An API with a number of tasks, of which one call changes at most 10,000. Calls wait until they are let through. */
class Api {
  readonly filters: TaskFilter[] = [];
  private waiting: (() => void)[] = [];

  constructor(
    private left: number,
    private readonly isHeld = false,
  ) {}

  readonly mutation = (_: unknown, { filter, dryRun }: { filter: TaskFilter; dryRun: boolean }) => ({
    toPromise: async () => {
      this.filters.push(filter);
      const matched = this.left;
      if (dryRun) return { data: { outcome: { matched, changed: 0, userErrors: [] } } };
      if (this.isHeld) await new Promise<void>((resolve) => this.waiting.push(resolve));
      const changed = Math.min(matched, PER_CALL);
      this.left -= changed;
      return { data: { outcome: { matched, changed, userErrors: [] } } };
    },
  });

  get calls(): number {
    return this.filters.length;
  }

  /** Lets the waiting call through. */
  async release(): Promise<void> {
    await waitFor(() => {
      expect(this.waiting).toHaveLength(1);
    });
    this.waiting.pop()?.();
  }
}

function Page({ action, onDone }: { action: Action; onDone: () => void }) {
  const bulk = useBulk(onDone);
  const target = {
    name: 'all tasks that match',
    filters: [{ filter: { names: ['a'] }, literal: null }],
    isEverything: false,
  };
  return (
    <>
      <button onClick={() => bulk.ask(action, target)}>Ask</button>
      <BulkDialog {...bulk} />
    </>
  );
}

async function ask(api: Api, action: Action) {
  const onDone = vi.fn();
  render(
    <MantineProvider env="test">
      <Provider value={{ mutation: api.mutation }}>
        <Page action={action} onDone={onDone} />
      </Provider>
    </MantineProvider>,
  );
  await userEvent.click(screen.getByRole('button', { name: 'Ask' }));
  return onDone;
}

const press = async (name: string): Promise<void> =>
  userEvent.click(await screen.findByRole('button', { name }));
const status = (): string | null => screen.getByRole('status').textContent;

describe('a bulk action in its dialog', () => {
  it('calls as often as more tasks than one call takes need, and shows how far it is', async () => {
    const api = new Api(25_000, true);
    const onDone = await ask(api, 'delete');
    await press('Delete 25,000 tasks');
    for (const changed of ['10,000', '20,000', '25,000']) {
      await api.release();
      await waitFor(() => {
        expect(status()).toBe(`${changed} tasks of 25,000 deleted.`);
      });
    }
    await press('Close');
    expect(screen.queryByRole('dialog')).toBeNull();
    expect(api.calls).toBe(1 + 3);
    expect(onDone).toHaveBeenCalledTimes(1);
  });

  it('can be stopped between two calls', async () => {
    const api = new Api(25_000, true);
    await ask(api, 'cancel');
    await press('Cancel 25,000 tasks');
    await press('Stop');
    await api.release();
    expect(screen.queryByRole('dialog')).toBeNull();
    await new Promise((resolve) => setTimeout(resolve));
    expect(api.calls).toBe(1 + 1);
  });

  it('replays no tasks that come after the question: a replay that fails would be found again', async () => {
    const api = new Api(15_000);
    await ask(api, 'replay');
    await press('Replay 15,000 tasks');
    await waitFor(() => {
      expect(status()).toContain('15,000 tasks of 15,000');
    });
    expect(api.calls).toBe(1 + 2);
    expect(new Set(api.filters.map((filter) => JSON.stringify(filter))).size).toBe(1);
    const [first, second] = api.filters[0]?.AND ?? [];
    expect(first).toEqual({ names: ['a'] });
    expect(Date.parse(second?.createdAt?.lt ?? '')).toBeLessThanOrEqual(Date.now());
  });

  it('says that nothing is left to do', async () => {
    const onDone = await ask(new Api(0), 'replay');
    expect(await screen.findByText('There is no task to replay.')).toBeDefined();
    expect(screen.queryByRole('button', { name: /^Replay/ })).toBeNull();
    expect(onDone).toHaveBeenCalledTimes(1);
  });
});
