import { describe, expect, it } from 'vitest';
import { parametersOf, takesOthers, typeText } from './schema';

describe('a type', () => {
  const root = {
    $defs: { Sku: { type: 'object', properties: { id: {}, size: {} } }, Loop: { $ref: '#/$defs/Loop' } },
  };

  it.each([
    [{}, 'any'],
    [{ type: 'string', format: 'date' }, 'string (date)'],
    [{ type: 'string', format: 'x', 'x-python-type': 'decimal' }, 'string (decimal)'],
    [{ type: ['integer', 'null'] }, 'integer or null'],
    [{ anyOf: [{ type: 'integer' }, { type: 'null' }] }, 'integer or null'],
    [{ type: 'array', items: { type: 'number' } }, 'array of number'],
    [{ type: 'array' }, 'array'],
    [{ enum: ['a', 2] }, '"a" or 2'],
    [{ const: null }, 'null'],
    [{ $ref: '#/$defs/Sku' }, 'object with id, size'],
    [{ $ref: '#/$defs/Loop' }, 'any'],
    [{ $ref: '#/nowhere' }, 'any'],
    [true, 'any'],
    [null, 'any'],
  ])('%j reads as %s', (schema, text) => {
    expect(typeText(schema, root)).toBe(text);
  });
});

describe('parameters', () => {
  it('come with what the caller has to know, the required ones first', () => {
    const schema = {
      type: 'object',
      properties: {
        kind: { type: 'string', default: null, description: 'What it is' },
        year: { type: 'integer' },
      },
      required: ['year'],
      additionalProperties: false,
    };
    expect(parametersOf(schema)).toEqual([
      { name: 'year', type: 'integer', isRequired: true, default: null, description: null },
      { name: 'kind', type: 'string', isRequired: false, default: 'null', description: 'What it is' },
    ]);
    expect(takesOthers(schema)).toBe(false);
  });

  it.each([null, [], 'x', {}, { properties: [] }])('of the schema %j are none', (schema) => {
    expect(parametersOf(schema)).toEqual([]);
  });
});
