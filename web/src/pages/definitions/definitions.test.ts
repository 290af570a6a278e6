import { describe, expect, it } from 'vitest';
import { type Definition, firstLine, matching } from './definitions';

const definition = (name: string, queue: string, description: string | null): Definition => ({
  name,
  queue,
  description,
  inputSchema: {},
  redact: [],
  maxRetries: null,
  timeLimit: null,
  workers: 1,
});

const definitions = [
  definition('shop.import', 'imports', 'Import the *catalogue*.\n\nAll of it.'),
  definition('mail.send', 'mail', null),
];

describe('definitions', () => {
  it.each([
    ['', ['shop.import', 'mail.send']],
    ['  ', ['shop.import', 'mail.send']],
    ['MAIL', ['mail.send']],
    ['import catalogue', ['shop.import']],
    ['import mail', []],
    ['(*', []],
  ])('are found by %j', (text, names) => {
    expect(matching(definitions, text).map(({ name }) => name)).toEqual(names);
  });

  it('are described by the first line of their docstring', () => {
    expect(definitions.map(({ description }) => firstLine(description))).toEqual([
      'Import the *catalogue*.',
      '',
    ]);
  });
});
