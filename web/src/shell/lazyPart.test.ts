import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { renew } from './lazyPart';

const REFUSED = new TypeError('Failed to fetch dynamically imported module');

describe('a part that could not be loaded', () => {
  const serve = vi.fn<typeof fetch>();

  beforeEach(() => {
    sessionStorage.clear();
    vi.useFakeTimers();
    vi.stubGlobal('fetch', serve);
  });

  afterEach(() => {
    vi.useRealTimers();
    vi.unstubAllGlobals();
    serve.mockReset();
  });

  it('renews the page once the server answers, and not before', async () => {
    const reload = vi.fn();
    serve.mockRejectedValueOnce(new TypeError('refused'));
    serve.mockResolvedValueOnce(new Response(null, { status: 503 }));
    serve.mockResolvedValueOnce(new Response());
    void renew(REFUSED, reload);
    await vi.advanceTimersByTimeAsync(1_500);
    expect(reload).not.toHaveBeenCalled();
    await vi.advanceTimersByTimeAsync(1_000);
    expect(reload).toHaveBeenCalledOnce();
  });

  it('is an error if it is missing again at once: the page does not load itself without an end', async () => {
    const reload = vi.fn();
    serve.mockImplementation(() => Promise.resolve(new Response()));
    void renew(REFUSED, reload);
    await vi.advanceTimersByTimeAsync(0);
    await expect(renew(REFUSED, reload)).rejects.toBe(REFUSED);
    expect(reload).toHaveBeenCalledOnce();
  });
});
