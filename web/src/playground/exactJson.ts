/**
 * JSON whose numbers keep their text when they are written again: JavaScript rounds integers beyond 2^53, and writes
 * 1.0 as 1. Browsers before 2024 lack JSON.rawJSON, and round.
 */
const { rawJSON } = JSON as { rawJSON?: (text: string) => unknown };

/** A reviver for JSON.parse that keeps the text of each number that JavaScript would write in another way. */
export function exactly(_key: string, value: unknown, context?: { source?: string }): unknown {
  const source = context?.source;
  const isChanged = typeof value === 'number' && source !== undefined && String(value) !== source;
  return isChanged && rawJSON ? rawJSON(source) : value;
}

export const parseExactly = (text: string): unknown => JSON.parse(text, exactly);
