import { graphql } from '@/gql';

export const DEFINITIONS = graphql(`
  query CreatableTasks {
    taskDefinitions {
      name
      description
      inputSchema
      queue
      workers
      redact
    }
  }
`);

/** A task that is repeated with other values. */
export const ORIGINAL = graphql(`
  query RepeatedTask($id: ID!) {
    task(id: $id) {
      id
      name
      args(asText: true)
      kwargs(asText: true)
      metadata(asText: true)
      queue
      priority
    }
  }
`);

export const CREATE = graphql(`
  mutation CreateTask($input: CreateTaskInput!) {
    createTask(input: $input) {
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
