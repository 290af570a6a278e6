/** What the task page asks of the API. Values that can be large have queries of their own, and are live in no subscription. */
import { graphql } from '@/gql';
import type { TaskStateFragment } from '@/gql/graphql';

export type TaskState = TaskStateFragment;

export const TASK_STATE = graphql(`
  fragment TaskState on Task {
    ...TaskRow
    owner
    idempotencyKey
    expiresAt
    progress {
      current
      total
      percent
      message
    }
    history {
      revision
      status
      at
      worker
      message
      actor
    }
  }
`);

export const TASK = graphql(`
  query TaskPage($id: ID!) {
    task(id: $id) {
      ...TaskState
      parent {
        id
        name
        status
      }
      replayOf {
        id
        name
        status
      }
    }
  }
`);

export const TASK_NOW = graphql(`
  query TaskNow($id: ID!) {
    task(id: $id) {
      ...TaskState
    }
  }
`);

export const TASK_UPDATED = graphql(`
  subscription TaskUpdated($id: ID!, $wait: Boolean = false) {
    taskUpdated(id: $id, waitForCreation: $wait) {
      ...TaskState
    }
  }
`);

/** What happens to a task after its end: its metadata may change, and it may be deleted. */
export const TASK_CHANGED = graphql(`
  subscription TaskChanged($id: ID!, $since: DateTime) {
    taskChanges(filter: { ids: [$id] }, since: $since) {
      at
      taskId
      task {
        ...TaskState
      }
    }
  }
`);

export const ARGUMENTS = graphql(`
  query TaskArguments($id: ID!) {
    task(id: $id) {
      args(asText: true)
      kwargs(asText: true)
    }
  }
`);

export const METADATA = graphql(`
  query TaskMetadata($id: ID!) {
    task(id: $id) {
      revision
      metadata(asText: true)
    }
  }
`);

export const RESULT = graphql(`
  query TaskResult($id: ID!) {
    task(id: $id) {
      result(asText: true)
    }
  }
`);

export const PROGRESS_DATA = graphql(`
  query TaskProgressData($id: ID!) {
    task(id: $id) {
      progress {
        data(asText: true)
      }
    }
  }
`);

export const TRACEBACK = graphql(`
  query TaskTraceback($id: ID!) {
    task(id: $id) {
      error {
        traceback
      }
    }
  }
`);

/** Whether a worker that could run the task is online. */
export const RUNNERS = graphql(`
  query TaskRunners($id: ID!) {
    task(id: $id) {
      definition {
        workers
      }
    }
  }
`);

export const CANCEL = graphql(`
  mutation CancelTask($id: ID!, $reason: String, $force: Boolean, $cascade: Boolean) {
    cancelTask(id: $id, reason: $reason, force: $force, cascade: $cascade) {
      task {
        ...TaskState
      }
      userErrors {
        ...Refusal
      }
    }
  }
`);

export const REPLAY = graphql(`
  mutation ReplayTask($id: ID!, $kwargs: JSON, $metadata: JSON) {
    replayTask(id: $id, kwargs: $kwargs, metadata: $metadata) {
      created
      task {
        id
      }
      userErrors {
        ...Refusal
      }
    }
  }
`);

export const RESCHEDULE = graphql(`
  mutation RescheduleTask($id: ID!, $scheduledFor: DateTime!) {
    rescheduleTask(id: $id, scheduledFor: $scheduledFor) {
      task {
        ...TaskState
      }
      userErrors {
        ...Refusal
      }
    }
  }
`);

export const DELETE = graphql(`
  mutation DeleteTask($id: ID!) {
    deleteTask(id: $id) {
      deletedTaskId
      userErrors {
        ...Refusal
      }
    }
  }
`);

export const UPDATE_METADATA = graphql(`
  mutation UpdateTaskMetadata($id: ID!, $operations: [MetadataOperation!]!, $expectedRevision: Int) {
    updateTaskMetadata(id: $id, operations: $operations, expectedRevision: $expectedRevision) {
      task {
        ...TaskState
        metadata(asText: true)
      }
      userErrors {
        ...Refusal
      }
    }
  }
`);

export const LOG = graphql(`
  subscription TaskLog($id: ID!, $minLevel: LogLevel, $after: String) {
    taskLogged(id: $id, minLevel: $minLevel, after: $after) {
      cursor
      at
      level
      message
    }
  }
`);

export const CHILDREN = graphql(`
  query TaskChildren($id: ID!, $after: String) {
    task(id: $id) {
      children(first: 50, after: $after) {
        nodes {
          ...TaskRow
        }
        pageInfo {
          hasNextPage
          endCursor
        }
      }
    }
  }
`);

export const CHILD_CHANGES = graphql(`
  subscription TaskFamily($filter: TaskFilter!, $since: DateTime) {
    taskChanges(filter: $filter, since: $since) {
      kind
      at
      taskId
      task {
        ...TaskRow
      }
    }
  }
`);
