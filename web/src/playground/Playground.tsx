/** GraphiQL for this API: with its title, its token, and examples that are ready to run. */
import { explorerPlugin } from '@graphiql/plugin-explorer';
import { ToolbarButton, useGraphiQL, useGraphiQLActions } from '@graphiql/react';
import { IconKeyOff } from '@tabler/icons-react';
import { GraphiQL, HISTORY_PLUGIN } from 'graphiql';
import { useEffect, useMemo, useState } from 'react';
import { leave, useAccess } from '@/access/token';
import { config } from '@/config';
import { EXAMPLES, withId } from './examples';
import { makeFetcher } from './fetcher';
import { makeStorage } from './storage';

const PLUGINS = [explorerPlugin(), HISTORY_PLUGIN];
const storage = makeStorage(config.path);

export function Playground() {
  const [isFirstVisit] = useState(() => storage.length === 0);
  const [createdId, setCreatedId] = useState<string>();
  const fetcher = useMemo(() => makeFetcher(setCreatedId), []);
  return (
    <GraphiQL
      fetcher={fetcher}
      storage={storage}
      plugins={PLUGINS}
      defaultTabs={EXAMPLES}
      // GraphiQL itself shows the variables of its first tab only when it has stored them.
      initialVariables={isFirstVisit ? EXAMPLES[0].variables : undefined}
      defaultEditorToolsVisibility="variables"
      inputValueDeprecation
      schemaDescription
      // Headers may have a token, which belongs to this tab only.
      shouldPersistHeaders={false}
    >
      <GraphiQL.Logo>
        {config.board ? <a href="./">{config.title}</a> : config.title} playground
      </GraphiQL.Logo>
      <GraphiQL.Toolbar>
        {({ prettify, merge, copy }) => (
          <>
            {prettify}
            {merge}
            {copy}
            <SignOut />
            <ExampleId id={createdId} />
          </>
        )}
      </GraphiQL.Toolbar>
    </GraphiQL>
  );
}

function SignOut() {
  const { token } = useAccess();
  if (token === null) return null;
  return (
    <ToolbarButton label="Forget the token" onClick={leave}>
      <IconKeyOff className="graphiql-toolbar-icon" aria-hidden="true" />
    </ToolbarButton>
  );
}

/** Puts the id of the task that was created last into the variables of the examples that ask for one. */
function ExampleId({ id }: { id: string | undefined }) {
  const editor = useGraphiQL(({ variableEditor }) => variableEditor);
  const tab = useGraphiQL(({ activeTabIndex }) => activeTabIndex);
  const actions = useGraphiQLActions();
  useEffect(() => {
    const before = editor?.getValue();
    if (before === undefined || id === undefined) return;
    const variables = withId(before, id);
    if (variables === before) return;
    editor?.setValue(variables);
    actions.updateActiveTabValues({ variables });
  }, [editor, id, tab, actions]);
  return null;
}
