/**
 * Where GraphiQL keeps its tabs and its history: in localStorage, apart for each API of an origin, and without the
 * headers that somebody has written, because they may have a token.
 */
const HISTORIES = ['graphiql:queries', 'graphiql:favorites'];

const withoutHeaders = (history: string): string =>
  JSON.stringify(JSON.parse(history, (key, value: unknown) => (key === 'headers' ? undefined : value)));

export function makeStorage(path: string) {
  const prefix = `${path} `;
  const ours = (): string[] => Object.keys(localStorage).filter((key) => key.startsWith(prefix));
  return {
    getItem: (key: string) => localStorage.getItem(prefix + key),
    setItem: (key: string, value: string) =>
      localStorage.setItem(prefix + key, HISTORIES.includes(key) ? withoutHeaders(value) : value),
    removeItem: (key: string) => localStorage.removeItem(prefix + key),
    clear: () => ours().forEach((key) => localStorage.removeItem(key)),
    get length() {
      return ours().length;
    },
  };
}
