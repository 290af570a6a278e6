/** The words of the search bar. */
import type { TaskFacet, TaskFilter } from '@/gql/graphql';

export interface Field {
  key: string;
  /** What the word finds, for completion and help. */
  finds: string;
  example: string;
  kind: 'list' | 'time' | 'parent' | 'metadata' | 'yesNo';
  /** The field of TaskFilter. */
  input: keyof TaskFilter;
  /** Where values to complete come from. */
  facet?: TaskFacet;
}

export const FIELDS: readonly Field[] = [
  {
    key: 'status',
    finds: 'The state of the task',
    example: 'status:FAILURE,RETRY',
    kind: 'list',
    input: 'statuses',
    facet: 'STATUS',
  },
  {
    key: 'name',
    finds: 'The task name',
    example: 'name:send_mail',
    kind: 'list',
    input: 'names',
    facet: 'NAME',
  },
  { key: 'queue', finds: 'The queue', example: 'queue:mail', kind: 'list', input: 'queues', facet: 'QUEUE' },
  {
    key: 'error',
    finds: 'The type of the error',
    example: 'error:ValueError',
    kind: 'list',
    input: 'errorTypes',
    facet: 'ERROR_TYPE',
  },
  {
    key: 'metadata',
    finds: 'A value in the metadata',
    example: 'metadata.customer.tier:gold',
    kind: 'metadata',
    input: 'metadata',
    facet: 'METADATA',
  },
  {
    key: 'created',
    finds: 'When the task was created',
    example: 'created:<2h',
    kind: 'time',
    input: 'createdAt',
  },
  {
    key: 'finished',
    finds: 'When the task ended',
    example: 'finished:today',
    kind: 'time',
    input: 'finishedAt',
  },
  {
    key: 'updated',
    finds: 'When the task changed last',
    example: 'updated:<5min',
    kind: 'time',
    input: 'updatedAt',
  },
  {
    key: 'replayed',
    finds: 'Whether the task was replayed; such a list is not live',
    example: 'replayed:no',
    kind: 'yesNo',
    input: 'isReplayed',
  },
  { key: 'id', finds: 'The id of the task', example: 'id:…', kind: 'list', input: 'ids' },
  { key: 'parent', finds: 'The id of the parent', example: 'parent:…', kind: 'parent', input: 'parentId' },
];

export const fieldOf = (key: string): Field | undefined => FIELDS.find((field) => field.key === key);
