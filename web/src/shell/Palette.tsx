/** The command palette: every page, what the page on the screen offers, and a task by its id. */
import { Spotlight, type SpotlightActionData, type SpotlightActionGroupData } from '@mantine/spotlight';
import { useState } from 'react';
import { useNavigate } from 'react-router';
import { useViewer } from '@/access/viewer';
import { taskPath } from '@/ui/paths';
import { usePageCommands } from './commands';
import { PAGES } from './pages';

export function Palette() {
  const [query, setQuery] = useState('');
  const navigate = useNavigate();
  const { scopes } = useViewer();
  const offered = usePageCommands();
  const id = query.trim();
  const go = (path: string) => () => void navigate(path);
  const pages: SpotlightActionData[] = PAGES.filter(({ scope }) => scopes.includes(scope)).map(
    ({ path, title, icon: Icon }) => ({
      id: path,
      label: title,
      leftSection: <Icon size={18} />,
      onClick: go(path),
    }),
  );
  const here: SpotlightActionData[] = offered.map(({ run, ...each }) => ({ ...each, onClick: run }));
  const open: SpotlightActionData[] = id
    ? [
        {
          id: 'open',
          label: `Open the task ${id}`,
          keywords: id,
          onClick: go(taskPath(id)),
        },
      ]
    : [];
  const groups: SpotlightActionGroupData[] = [
    { group: 'On this page', actions: here },
    { group: 'Go to', actions: [...pages, ...open] },
  ].filter(({ actions }) => actions.length > 0);
  return (
    <Spotlight
      query={query}
      onQueryChange={setQuery}
      actions={groups}
      shortcut={['mod + K']}
      // The shortcut works in fields too, for example in that of a closing palette: fields do not use these keys.
      tagsToIgnore={[]}
      // Mantine clears the text when the palette has closed. The palette may open again before that.
      onSpotlightOpen={() => setQuery('')}
      nothingFound="No such command"
      searchProps={{ placeholder: 'A page, a command, or the id of a task', 'aria-label': 'Commands' }}
      highlightQuery
      scrollable
      attributes={{ content: { 'aria-label': 'Commands' } }}
      maxHeight={420}
    />
  );
}
