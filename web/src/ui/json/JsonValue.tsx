import { ActionIcon, Button, Group, Text, Tooltip } from '@mantine/core';
import { IconDownload } from '@tabler/icons-react';
import { useMemo, useState } from 'react';
import { CopyButton } from '@/ui/CopyButton';
import { saveFile } from '@/ui/saveFile';
import { type Json, jsonText, parseJson, sizeText } from './exact';
import { JsonTree, type LeafAction } from './JsonTree';
import { LongText } from './LongText';

const MAX_AT_ONCE = 300_000;

interface Props {
  /** The value as JSON text, with the digits that the task has. */
  text: string;
  label: string;
  /** The name of the file that a download gets. */
  fileName: string;
  leafAction?: LeafAction;
}

/** A JSON value with its size, to look at, copy and download. A large one becomes a tree only when asked. */
export function JsonValue({ text, label, fileName, leafAction }: Props) {
  const [isAsked, setAsked] = useState(false);
  const isShown = isAsked || text.length <= MAX_AT_ONCE || text.startsWith('"');
  return (
    <>
      <Group gap={4} justify="flex-end" mt={-4}>
        <Text size="xs" c="dimmed">
          {sizeText(text.length)}
        </Text>
        <CopyButton label={`Copy ${label}`} text={() => pretty(text)} />
        <Tooltip label={`Download ${label}`}>
          <ActionIcon
            variant="subtle"
            color="gray"
            size="sm"
            aria-label={`Download ${label}`}
            onClick={() => saveFile(fileName, text, 'application/json')}
          >
            <IconDownload size={14} />
          </ActionIcon>
        </Tooltip>
      </Group>
      {isShown ? (
        <Tree text={text} label={label} leafAction={leafAction} />
      ) : (
        <>
          <Text size="xs" ff="monospace" style={{ overflowWrap: 'anywhere' }} component="div">
            <LongText text={text} />
          </Text>
          <Button mt="xs" size="compact-sm" variant="default" onClick={() => setAsked(true)}>
            Show as a tree
          </Button>
        </>
      )}
    </>
  );
}

function Tree({ text, label, leafAction }: { text: string; label: string; leafAction?: LeafAction }) {
  const value = useMemo<Json>(() => parseJson(text), [text]);
  return <JsonTree value={value} label={label} leafAction={leafAction} />;
}

/** Returns a text with line breaks; a large one as it is, for that would take long. */
const pretty = (text: string): string => (text.length > MAX_AT_ONCE ? text : jsonText(parseJson(text), 2));
