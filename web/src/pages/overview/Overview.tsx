/** The first screen: what needs attention, then what is going on. */
import { Group, Stack, Title } from '@mantine/core';
import { useMay } from '@/access/viewer';
import { useRefreshed } from '@/live/useRefreshed';
import { Problem } from '@/ui/Problem';
import { CountsPanel } from './CountsPanel';
import { loadCounts } from './counts';
import { FailuresPanel } from './FailuresPanel';
import { type Failures, loadFailures, withFailure } from './failures';
import { OperationPanels } from './OperationPanels';
import { StatsPanel } from './StatsPanel';
import { useFailureEvents } from './useFailureEvents';
import { WindowControl } from './WindowControl';
import { beginOf, useChosenWindow } from './windows';

const EVERY_MS = 5_000;

export function Overview() {
  const chosen = useChosenWindow();
  const { window } = chosen;
  const mayOperate = useMay('OPERATE');
  const failures = useRefreshed<Failures>({
    key: window.id,
    load: (ask, last) => loadFailures(ask, beginOf(window), last),
    everyMs: EVERY_MS,
  });
  const counts = useRefreshed({
    key: window.id,
    load: (ask) => loadCounts(ask, beginOf(window)),
    everyMs: EVERY_MS,
  });
  const refresh = (): void => {
    failures.refresh();
    counts.refresh();
  };
  const refusal = useFailureEvents((tasks) => {
    // They appear before the counts are loaded, which takes longer the more there is to count.
    if (tasks.length > 0) failures.change((shown) => tasks.reduce(withFailure, shown));
    refresh();
  });
  return (
    <Stack>
      <Group justify="space-between">
        <Title order={1} size="h3">
          Overview
        </Title>
        <WindowControl {...chosen} />
      </Group>
      {refusal !== null && <Problem text={`New failures appear late: ${refusal}`} />}
      <FailuresPanel failures={failures} window={window} onChange={refresh} />
      <CountsPanel counts={counts} window={window} />
      <StatsPanel window={window} />
      {mayOperate && <OperationPanels />}
    </Stack>
  );
}
