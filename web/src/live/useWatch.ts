/** A subscription for as long as a component shows what it brings. */
import type { TypedDocumentNode } from '@graphql-typed-document-node/core';
import { stringifyDocument } from 'urql';
import { useEffect, useEffectEvent, useState } from 'react';
import { useSocket } from './SocketContext';

interface Watch<Result, Variables> {
  document: TypedDocumentNode<Result, Variables>;
  /** What to watch: other variables begin another subscription. null watches nothing. */
  variables: Variables | null;
  /** Receives each result, and may return the variables with which to resume after a lost connection. */
  onResult: (result: Result) => Partial<Variables> | undefined;
  /** Called when the subscription has completed: there will be no more results. */
  onComplete?: () => void;
}

/** Watches, resumes after each lost connection, and returns why the server refused to, if it did. */
export function useWatch<Result, Variables extends Record<string, unknown>>(
  watch: Watch<Result, Variables>,
): string | null {
  const socket = useSocket();
  const [refusal, setRefusal] = useState<{ key: string; text: string } | null>(null);
  const onResult = useEffectEvent(watch.onResult);
  const onComplete = useEffectEvent(() => watch.onComplete?.());
  const { document } = watch;
  const key = watch.variables === null ? null : JSON.stringify(watch.variables);

  useEffect(() => {
    if (key === null) return;
    // graphql-ws sends the same object again when it has connected again: changing it is how to resume.
    const variables = JSON.parse(key) as Record<string, unknown>;
    let isOver = false;
    const end = socket.subscribe<Result>(
      { query: stringifyDocument(document), variables },
      {
        next: ({ data, errors }) => {
          if (data) resumeFrom(variables, onResult(data));
          if (errors) setRefusal({ key, text: reason(errors) });
        },
        error: (error) => setRefusal({ key, text: reason(error) }),
        // graphql-ws calls this also for a subscription that ends because nobody watches any more.
        complete: () => {
          if (!isOver) onComplete();
        },
      },
    );
    return () => {
      isOver = true;
      end();
    };
  }, [socket, document, key]);
  return refusal?.key === key ? refusal.text : null;
}

/** Takes over where to resume. A replay begins with earlier times than the last one: they do not lead back. */
export function resumeFrom(
  variables: Record<string, unknown>,
  next: Record<string, unknown> | undefined,
): void {
  const isEarlier =
    typeof next?.since === 'string' &&
    typeof variables.since === 'string' &&
    Date.parse(next.since) < Date.parse(variables.since);
  if (!isEarlier) Object.assign(variables, next);
}

function reason(error: unknown): string {
  if (Array.isArray(error)) return error.map(({ message }: { message: string }) => message).join(' ');
  if (error instanceof Error) return error.message;
  return 'The connection has ended.';
}
