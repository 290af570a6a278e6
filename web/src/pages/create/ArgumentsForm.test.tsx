import { MantineProvider } from '@mantine/core';
import { configure, render, screen } from '@testing-library/react';
import userEvent from '@testing-library/user-event';
import { describe, expect, it, vi } from 'vitest';
import { ArgumentsForm } from './ArgumentsForm';

// A machine that does other things too is slow.
vi.setConfig({ testTimeout: 30_000 });
configure({ asyncUtilTimeout: 10_000 });

const SCHEMA = {
  type: 'object',
  properties: { value: {}, options: { description: 'How.', default: null } },
  required: ['value'],
  additionalProperties: false,
};

function show(data: Record<string, unknown> = {}, errors: Record<string, unknown> = {}) {
  const onChange = vi.fn<(data: Record<string, unknown>) => void>();
  render(
    <MantineProvider env="test">
      <ArgumentsForm schema={SCHEMA} data={data} errors={errors} onChange={onChange} />
    </MantineProvider>,
  );
  return { onChange, last: () => onChange.mock.lastCall?.[0] };
}

const field = (name: RegExp): HTMLInputElement => screen.getByRole('textbox', { name });

describe('a parameter without a type', () => {
  it.each([
    ['7', 7],
    ['[1, "a"]', [1, 'a']],
    ['{"a": null}', { a: null }],
    ['true', true],
    ['monday.csv', 'monday.csv'],
    ['"7"', '7'],
    ['{"a": ', '{"a": '],
  ])('takes %s', async (text, value) => {
    const { last } = show();
    await userEvent.type(field(/value/), text.replace(/[[{]/g, '$&$&'));
    expect(last()?.value).toEqual(value);
  });

  it('is left out when it is emptied', async () => {
    const { last } = show({ value: 1 });
    await userEvent.clear(field(/value/));
    expect(last()).not.toHaveProperty('value', expect.anything());
  });

  it.each([
    ['monday.csv', 'monday.csv'],
    ['7', '"7"'],
    [7, '7'],
    [{ a: [1] }, '{"a":[1]}'],
  ])('shows %o as it is entered', (value, text) => {
    show({ value });
    expect(field(/value/).value).toBe(text);
  });

  it('shows its description, and what the API found wrong with it', () => {
    show({ value: 1 }, { value: { __errors: ['is no date'] } });
    expect(screen.getByText(/How\./)).toBeDefined();
    expect(field(/value/).getAttribute('aria-invalid')).toBe('true');
    expect(document.getElementById('argument_value-error')?.textContent).toBe('is no date');
  });
});
