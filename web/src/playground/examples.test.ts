import { describe, expect, it } from 'vitest';
import { EXAMPLES, withId } from './examples';

describe('the id in the variables of an example', () => {
  it('is that of the task that was created last', () => {
    const filled = EXAMPLES.map(({ variables }) => withId(variables, 'a"b')).filter((text) =>
      text.includes('a\\"b'),
    );
    expect(filled.map((text): unknown => JSON.parse(text))).toEqual([{ id: 'a"b' }, { id: 'a"b' }]);
  });

  it('stays what somebody has written', () => {
    expect(withId('{"id": "mine"}', 'other')).toBe('{"id": "mine"}');
  });
});
