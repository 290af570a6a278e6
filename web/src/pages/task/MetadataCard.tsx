import { ActionIcon, Button, Tooltip } from '@mantine/core';
import { IconEdit, IconListSearch } from '@tabler/icons-react';
import { useState } from 'react';
import { Link } from 'react-router';
import { useMay } from '@/access/viewer';
import { Panel } from '@/ui/Panel';
import { isObject, type Json, jsonText, pathText } from '@/ui/json/exact';
import { JsonValue } from '@/ui/json/JsonValue';
import { tasksPath } from '@/ui/paths';
import { METADATA, type TaskState } from './documents';
import { Loaded, Nothing } from './Values';
import { MetadataEditor, type Read } from './MetadataEditor';

/** The metadata of a task: live, with links to the tasks that have the same values, and with a way to change it. */
export function MetadataCard({ task, offer }: { task: TaskState; offer: (state: TaskState) => void }) {
  const mayChange = useMay('TASKS_CONTROL');
  const [edited, setEdited] = useState<Read | null>(null);
  return (
    <Panel title="Metadata">
      <div>
        <Loaded document={METADATA} id={task.id} version={task.revision}>
          {({ task: values }) => {
            if (values === null) return null;
            const text = String(values.metadata);
            const read = { revision: values.revision, text };
            if (edited) {
              return (
                <MetadataEditor
                  id={task.id}
                  read={edited}
                  now={read}
                  onRead={setEdited}
                  onSaved={(state) => {
                    offer(state);
                    setEdited(null);
                  }}
                  onClose={() => setEdited(null)}
                />
              );
            }
            return (
              <>
                {text === '{}' ? (
                  <Nothing>It has no metadata.</Nothing>
                ) : (
                  <JsonValue
                    text={text}
                    label="metadata"
                    fileName={`${task.id}-metadata.json`}
                    leafAction={(path, value) => <SameValue path={path} value={value} />}
                  />
                )}
                {mayChange && (
                  <Button
                    mt="xs"
                    size="compact-sm"
                    variant="default"
                    leftSection={<IconEdit size={14} />}
                    onClick={() => setEdited(read)}
                  >
                    Edit metadata
                  </Button>
                )}
              </>
            );
          }}
        </Loaded>
      </div>
    </Panel>
  );
}

const MAX_LINKED = 200;

function SameValue({ path, value }: { path: readonly (string | number)[]; value: Json }) {
  const json = jsonText(value);
  if (json.length > MAX_LINKED || isObject(value) || Array.isArray(value)) return null;
  // A position in an array is none of the value's: the tasks that have it anywhere in the array are meant.
  const keys = path.filter((key) => typeof key === 'string');
  const label = `Tasks whose ${pathText(keys)} is ${json}`;
  return (
    <Tooltip label={label} multiline maw={320}>
      <ActionIcon
        component={Link}
        to={tasksPath({ metadata: { keys, value } })}
        variant="subtle"
        color="gray"
        size={18}
        ml={4}
        aria-label={label}
      >
        <IconListSearch size={13} />
      </ActionIcon>
    </Tooltip>
  );
}
