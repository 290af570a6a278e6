/** What lists show of a task. Large fields are not part of it: a list of tasks with 1 MB each stays small. */
import { graphql } from '@/gql';

export const TASK_ROW = graphql(`
  fragment TaskRow on Task {
    id
    name
    status
    isFinal
    revision
    queue
    priority
    worker
    attempts
    createdAt
    scheduledFor
    startedAt
    finishedAt
    updatedAt
    cancelRequestedAt
    progress {
      percent
      message
    }
    error {
      type
      message
    }
  }
`);
