/** Parts of the board that are loaded when they are shown. */
import { type ComponentType, lazy, type LazyExoticComponent } from 'react';

const RETRY_MS = 1_000;
/** A part that is missing after that was loaded anew is missing on the server. */
const ONCE_IN_MS = 10_000;
const RENEWED_AT = 'gql-api:renewed-at';

/** Returns a part. While the server is away the page waits for it, with what it shows. */
export function lazyPart<Props>(
  load: () => Promise<{ default: ComponentType<Props> }>,
): LazyExoticComponent<ComponentType<Props>> {
  return lazy(() => load().catch((error: unknown) => renew(error)));
}

/**
 * Loads the page anew as soon as the server answers: browsers do not ask again for a file that could not be loaded, and
 * a newer release has other files. Throws the error if that was done a moment ago.
 */
export async function renew(error: unknown, reload = () => window.location.reload()): Promise<never> {
  while (!(await isServed())) await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
  if (Date.now() - Number(sessionStorage.getItem(RENEWED_AT)) < ONCE_IN_MS) throw error;
  sessionStorage.setItem(RENEWED_AT, String(Date.now()));
  reload();
  return new Promise(() => undefined);
}

async function isServed(): Promise<boolean> {
  try {
    return (await fetch(document.baseURI, { method: 'HEAD', cache: 'no-store' })).ok;
  } catch {
    return false;
  }
}
