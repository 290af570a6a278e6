/** Whose tasks the viewer sees: an API without authentication shows all, and so do the tokens of administrators. */
import { useViewer } from '@/access/viewer';

/** Returns whether figures of tasks are about the viewer's own tasks only. */
export function useSeesOwnOnly(): boolean {
  const { subject, scopes } = useViewer();
  return subject !== null && !scopes.includes('ADMIN');
}
