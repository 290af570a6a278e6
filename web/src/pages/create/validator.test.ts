import { describe, expect, it } from 'vitest';
import { validator } from './validator';

const SCHEMA = {
  type: 'object',
  properties: {
    source: { type: 'string' },
    limit: { type: 'integer', minimum: 1 },
    choice: { anyOf: [{ type: 'integer' }, { type: 'null' }] },
    'a/b': { type: 'array', items: { $ref: '#/$defs/Item' } },
  },
  required: ['source'],
  additionalProperties: false,
  $defs: { Item: { type: 'object', properties: { n: { type: 'number' } }, required: ['n'] } },
} as const;

const problems = (data: object): string[] =>
  validator.validateFormData(data, structuredClone(SCHEMA) as object).errors.map(({ stack }) => stack);

describe('the validator of the form', () => {
  it('accepts what the schema allows', () => {
    expect(problems({ source: 'x', limit: 1, choice: null, 'a/b': [{ n: 0.5 }] })).toEqual([]);
    expect(problems({ source: 'x', limit: undefined })).toEqual([]);
  });

  it.each([
    [{}, 'source is required'],
    [{ source: 'x', limit: 0 }, 'limit 0 is less than 1'],
    [{ source: 'x', choice: 'y' }, 'choice has none of the allowed forms'],
    [{ source: 'x', 'a/b': [{}] }, 'a/b.0.n is required'],
  ])('says once what is wrong with %j', (data, problem) => {
    expect(problems(data)).toEqual([problem]);
  });

  it('puts an error where it belongs', () => {
    const { errorSchema } = validator.validateFormData(
      { source: 'x', 'a/b': [{}] },
      structuredClone(SCHEMA) as object,
    );
    expect(errorSchema).toEqual({ 'a/b': { 0: { n: { __errors: ['is required'] } } } });
  });

  it('tells the options of a choice apart, with references to the whole schema', () => {
    const root = structuredClone(SCHEMA) as object;
    expect(validator.isValid({ $ref: '#/$defs/Item' }, { n: 1 }, root)).toBe(true);
    expect(validator.isValid({ $ref: '#/$defs/Item' }, { n: 'x' }, root)).toBe(false);
    expect(validator.isValid({ type: 'string' }, 5, root)).toBe(false);
  });
});
