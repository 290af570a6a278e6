import { beforeEach, describe, expect, it, vi } from 'vitest';
import { enterToken, token } from '@/access/token';
import { makeFetcher } from './fetcher';

const created: string[] = [];
const run = async (headers?: Record<string, string>): Promise<unknown> =>
  makeFetcher((id) => created.push(id))({ query: '{ a }', variables: { b: 1 } }, { headers });

function answer(text: string, status = 200) {
  const fetched = vi.fn<typeof fetch>(() => Promise.resolve(new Response(text, { status })));
  vi.stubGlobal('fetch', fetched);
  return fetched;
}

describe('an operation of the playground', () => {
  beforeEach(() => {
    created.length = 0;
    enterToken('gqt_1');
  });

  it('is sent with the token of the tab', async () => {
    const fetched = answer('{"data": {"a": 1}}');
    expect(await run()).toEqual({ data: { a: 1 } });
    const [address, request] = fetched.mock.calls[0] ?? [];
    expect(address).toBe('/graphql');
    expect(new Headers(request?.headers).get('Authorization')).toBe('Bearer gqt_1');
    expect(request?.body).toBe('{"query":"{ a }","variables":{"b":1}}');
  });

  it('runs the operation of the document, though GraphiQL still has the name of another', async () => {
    const fetched = answer('{"data": {}}');
    await makeFetcher(() => undefined)({ query: 'query New { a }', operationName: 'Old' });
    expect(fetched.mock.calls[0]?.[1]?.body).toBe('{"query":"query New { a }","operationName":"New"}');
  });

  it('has the headers of the editor in place of its own', async () => {
    const fetched = answer('{"data": {}}');
    await run({ Authorization: 'Bearer other', 'X-A': '1' });
    const headers = new Headers(fetched.mock.calls[0]?.[1]?.headers);
    expect([headers.get('Authorization'), headers.get('X-A')]).toEqual(['Bearer other', '1']);
  });

  it('tells which task it has created', async () => {
    answer('{"data": {"createTask": {"task": {"id": "t"}}}}');
    await run();
    answer('{"data": {"createTask": {"task": null}}}');
    await run();
    expect(created).toEqual(['t']);
  });

  it('ends the access of a token that the server refuses, unless another one was sent', async () => {
    answer('{"errors": [{"message": "no"}]}', 401);
    await run({ authorization: 'Bearer other' });
    expect(token()).toBe('gqt_1');
    expect(await run()).toEqual({ errors: [{ message: 'no' }] });
    expect(token()).toBeNull();
  });

  it('shows what is not JSON, like the page of a proxy', async () => {
    answer('<h1>Bad gateway</h1>', 502);
    await expect(run()).rejects.toThrow('the status 502, and not with JSON: <h1>Bad gateway</h1>');
  });
});
