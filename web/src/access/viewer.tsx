/** Who uses the page, and what the token allows: an action that is not allowed is not offered. */
import { createContext, useContext } from 'react';
import { graphql } from '@/gql';
import type { Scope, ViewerQuery } from '@/gql/graphql';

export const VIEWER = graphql(`
  query Viewer {
    viewer {
      subject
      scopes
      expiresAt
    }
  }
`);

export type Viewer = ViewerQuery['viewer'];

export const ViewerContext = createContext<Viewer>({ subject: null, scopes: [], expiresAt: null });

export const useViewer = (): Viewer => useContext(ViewerContext);

export function useMay(scope: Scope): boolean {
  return useViewer().scopes.includes(scope);
}
