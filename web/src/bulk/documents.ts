/** The bulk mutations, which count before they change anything. */
import { graphql } from '@/gql';

export const OUTCOME = graphql(`
  fragment BulkOutcome on BulkTaskPayload {
    matched
    changed
    userErrors {
      ...Refusal
    }
  }
`);

export const CANCEL_TASKS = graphql(`
  mutation CancelTasks($filter: TaskFilter!, $dryRun: Boolean!) {
    outcome: cancelTasks(filter: $filter, dryRun: $dryRun) {
      ...BulkOutcome
    }
  }
`);

export const REPLAY_TASKS = graphql(`
  mutation ReplayTasks($filter: TaskFilter!, $dryRun: Boolean!) {
    outcome: replayTasks(filter: $filter, dryRun: $dryRun) {
      ...BulkOutcome
    }
  }
`);

export const DELETE_TASKS = graphql(`
  mutation DeleteTasks($filter: TaskFilter!, $dryRun: Boolean!) {
    outcome: deleteTasks(filter: $filter, dryRun: $dryRun) {
      ...BulkOutcome
    }
  }
`);
