/**
 * JSON whose numbers keep their text when they are written again: JavaScript rounds integers beyond 2^53, and writes
 * 1.0 as 1. Browsers before 2024 lack JSON.rawJSON, and round.
 */
interface RawJson {
  rawJSON?: (text: string) => unknown;
}

export function parseExactly(text: string): unknown {
  const { rawJSON } = JSON as RawJson;
  if (!rawJSON) return JSON.parse(text);
  return JSON.parse(text, (_key: string, value: unknown, context?: { source?: string }) => {
    const source = context?.source;
    return typeof value === 'number' && source !== undefined && String(value) !== source
      ? rawJSON(source)
      : value;
  });
}
