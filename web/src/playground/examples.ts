/** The operations of the first visit, each in a tab of its own. */
import createQuery from './examples/create.graphql?raw';
import createVariables from './examples/create.json?raw';
import listQuery from './examples/list.graphql?raw';
import listVariables from './examples/list.json?raw';
import logQuery from './examples/log.graphql?raw';
import logVariables from './examples/log.json?raw';
import watchQuery from './examples/watch.graphql?raw';
import watchVariables from './examples/watch.json?raw';

export interface Example {
  query: string;
  variables: string;
}

export const EXAMPLES: [Example, ...Example[]] = [
  { query: createQuery, variables: createVariables },
  { query: listQuery, variables: listVariables },
  { query: watchQuery, variables: watchVariables },
  { query: logQuery, variables: logVariables },
];

const NO_ID = '"the id of a task"';

/** Puts the id of a task where an example asks for one. Variables that somebody has written stay as they are. */
export const withId = (variables: string, id: string): string => variables.replace(NO_ID, JSON.stringify(id));
