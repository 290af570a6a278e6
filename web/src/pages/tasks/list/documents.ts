/** The operations of the list. Metadata and arguments are asked for only when a column shows a part of them. */
import { graphql } from '@/gql';

export const LISTED_TASK = graphql(`
  fragment ListedTask on Task {
    ...TaskRow
    metadata(asText: true) @include(if: $withMetadata)
    kwargs(asText: true) @include(if: $withKwargs)
    progress @include(if: $withProgress) {
      current
      total
      data(asText: true)
    }
  }
`);

/** The time of the newest change of all is where the subscription begins, so that nothing falls between the two. */
export const TASK_LIST = graphql(`
  query TaskList(
    $first: Int!
    $after: String
    $filter: TaskFilter!
    $orderBy: TaskOrder!
    $isFirst: Boolean!
    $withMetadata: Boolean!
    $withKwargs: Boolean!
    $withProgress: Boolean!
  ) {
    newest: tasks(first: 1, orderBy: { field: UPDATED_AT, direction: DESC }) @include(if: $isFirst) {
      nodes {
        updatedAt
      }
    }
    tasks(first: $first, after: $after, filter: $filter, orderBy: $orderBy) {
      nodes {
        ...ListedTask
      }
      pageInfo {
        hasNextPage
        endCursor
      }
    }
  }
`);

export const TASK_LIST_CHANGES = graphql(`
  subscription TaskListChanges(
    $filter: TaskFilter!
    $since: DateTime
    $withMetadata: Boolean!
    $withKwargs: Boolean!
    $withProgress: Boolean!
  ) {
    taskChanges(filter: $filter, since: $since) {
      kind
      taskId
      at
      task {
        ...ListedTask
      }
    }
  }
`);

export const TASK_COUNT = graphql(`
  query TaskCount($filter: TaskFilter!) {
    tasks(first: 1, filter: $filter) {
      totalCount
    }
  }
`);

export const TASK_VALUES = graphql(`
  query TaskValues($filter: TaskFilter!, $by: TaskFacet!, $metadataPath: String) {
    tasks(first: 1, filter: $filter) {
      facet(by: $by, metadataPath: $metadataPath, first: 50) {
        value
        count
      }
    }
  }
`);

export const TASK_PATHS = graphql(`
  query TaskPaths($filter: TaskFilter!) {
    tasks(first: 20, filter: $filter) {
      nodes {
        metadata(asText: true)
      }
    }
  }
`);
