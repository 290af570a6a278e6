import { useDocumentVisibility } from '@mantine/hooks';
import { useEffect, useEffectEvent, useRef } from 'react';

const EVERY_MS = 1_000;

/** Loads again when a version changes: at most once a second, and not while nobody sees the tab. */
export function useReload(version: string | number, reload: () => void): void {
  const visibility = useDocumentVisibility();
  const last = useRef({ version, at: 0 });
  const load = useEffectEvent(reload);
  useEffect(() => {
    if (last.current.version === version || visibility === 'hidden') return;
    const wait = Math.max(0, last.current.at + EVERY_MS - Date.now());
    const timer = setTimeout(() => {
      last.current = { version, at: Date.now() };
      load();
    }, wait);
    return () => clearTimeout(timer);
  }, [version, visibility]);
}
