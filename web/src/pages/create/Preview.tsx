import { Code, ScrollArea, Stack, Tabs } from '@mantine/core';
import { config } from '@/config';
import { Panel } from '@/ui/Panel';
import { CopyButton } from '@/ui/CopyButton';
import { jsonText } from '@/ui/json/exact';
import { curlOf, type Variables } from './draft';

/** The call that the form stands for, to be used in a program. */
export function Preview({ query, variables }: { query: string; variables: Variables }) {
  const address = new URL(config.path, window.location.href).href;
  const texts = {
    Operation: query,
    Variables: jsonText(variables, 2),
    curl: curlOf(address, query, variables, config.authentication),
  };
  return (
    <Panel title="The same as a call of the API">
      <Tabs defaultValue="Operation">
        <Tabs.List>
          {Object.keys(texts).map((name) => (
            <Tabs.Tab key={name} value={name}>
              {name}
            </Tabs.Tab>
          ))}
        </Tabs.List>
        {Object.entries(texts).map(([name, text]) => (
          <Tabs.Panel key={name} value={name} pt="xs">
            <Stack gap={4} align="end">
              <CopyButton label={`Copy: ${name}`} text={text} />
            </Stack>
            <ScrollArea.Autosize mah={320} viewportProps={{ tabIndex: 0, 'aria-label': name }}>
              <Code block>{text}</Code>
            </ScrollArea.Autosize>
          </Tabs.Panel>
        ))}
      </Tabs>
    </Panel>
  );
}
