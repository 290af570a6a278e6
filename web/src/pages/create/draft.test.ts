import { describe, expect, it } from 'vitest';
import { jsonText } from '@/ui/json/exact';
import { createCall, curlOf, type Draft, placed, replayCall, withoutPositional } from './draft';

const DRAFT: Draft = {
  name: 'shop.import',
  mode: 'json',
  form: {},
  kwargs: '{"big":9007199254740993}',
  args: '[]',
  metadata: '{}',
  start: 'now',
  time: { local: '2030-01-01T06:00', zone: 'Europe/Berlin' },
  delaySeconds: '5',
  queue: '',
  priority: '',
  expiresInSeconds: '',
  timeLimitSeconds: '',
  parentId: '',
  idempotencyKey: '',
};

const input = (more: Partial<Draft>) => jsonText(createCall({ ...DRAFT, ...more }).variables);

describe('the call of what was entered', () => {
  it('has what was given only, with its digits', () => {
    expect(input({})).toBe(
      '{"input":{"name":"shop.import","kwargs":{"big":9007199254740993},"metadata":{}}}',
    );
  });

  it('has the chosen start, and keeps the others for later', () => {
    expect(input({ start: 'time' })).toContain('"scheduledFor":"2030-01-01T06:00:00+01:00"');
    expect(input({ start: 'delay' })).toContain('"delaySeconds":5');
    expect(input({ start: 'now' })).not.toContain('delaySeconds');
  });

  it('has problems beside the fields that have them', () => {
    const { problems } = createCall({ ...DRAFT, name: '', metadata: '{', priority: 'high' });
    expect(Object.keys(problems).sort()).toEqual(['metadata', 'name', 'priority']);
  });

  it('never has an integer whose digits a form has changed', () => {
    const draft: Draft = { ...DRAFT, mode: 'form', form: { n: 2 ** 53 } };
    expect(createCall(draft).problems.kwargs).toContain('2^53');
  });

  it('repeats a task with what was changed only, so that hidden values stay', () => {
    const original = { id: '1', kwargs: '{"big":9007199254740993,"key":"[REDACTED]"}', metadata: '{"a":1}' };
    const same = { ...DRAFT, kwargs: original.kwargs, metadata: '{"a":2}' };
    expect(jsonText(replayCall(same, original).variables)).toBe('{"id":"1","metadata":{"a":2}}');
  });
});

describe('the curl call', () => {
  it('is safe to paste, and has no token', () => {
    const call = curlOf('http://x/graphql', 'mutation', { a: "it's" }, true);
    expect(call).toContain(`'{"query":"mutation","variables":{"a":"it'\\''s"}}'`);
    expect(call).toContain('Bearer $TOKEN');
    expect(curlOf('http://x', 'q', {}, false)).not.toContain('Authorization');
  });
});

describe('errors of the API', () => {
  it('stand beside the fields that they name', () => {
    const { problems, inForm, others } = placed([
      { message: 'too low', field: ['input', 'kwargs', 'a', '0'] },
      { message: 'no such queue', field: ['input', 'queue'] },
      { message: 'refused', field: null },
    ]);
    expect(problems).toEqual({ kwargs: 'too low', queue: 'no such queue' });
    expect(inForm).toEqual({ a: { 0: { __errors: ['too low'] } } });
    expect(others).toEqual(['refused']);
  });
});

describe('a schema without what is given by position', () => {
  it('asks for the other parameters', () => {
    const schema = { properties: { a: {}, b: {} }, required: ['a', 'b'] };
    expect(withoutPositional(schema, 1)).toEqual({ properties: { b: {} }, required: ['b'] });
  });
});
