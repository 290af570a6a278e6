/** What every mutation says of a refusal: a code for the page, and a text and a place for people. */
import { graphql } from '@/gql';

export const REFUSAL = graphql(`
  fragment Refusal on UserError {
    code
    message
    field
  }
`);
