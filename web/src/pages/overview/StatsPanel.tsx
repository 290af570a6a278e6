/** What was finished over time, and how long tasks waited and ran: as charts, or as a table. */
import { Button, SimpleGrid, Text } from '@mantine/core';
import { Suspense } from 'react';
import { useSearchParams } from 'react-router';
import { useRefreshed } from '@/live/useRefreshed';
import { lazyPart } from '@/shell/lazyPart';
import { Panel } from '@/ui/Panel';
import { countText } from '@/ui/numbers';
import { type Column, loadStats, percentilesText, type Stats, totalsOf } from './stats';
import { StatsTable } from './StatsTable';
import type { TimeWindow } from './windows';

const Charts = lazyPart(() => import('./Charts'));

const EVERY_MS = 10_000;
export const CHART_HEIGHT = 214;

export function StatsPanel({ window }: { window: TimeWindow }) {
  const { data, problem, refresh } = useRefreshed({
    key: window.id,
    load: (ask) => loadStats(ask, window),
    everyMs: EVERY_MS,
  });
  const [isTable, setIsTable] = useTableChoice();
  return (
    <Panel
      title="Finished tasks and their times"
      hint={window.words}
      isLoading={data === null}
      problem={problem}
      onRetry={refresh}
      actions={
        <Button
          size="compact-sm"
          variant="default"
          aria-pressed={isTable}
          onClick={() => setIsTable(!isTable)}
        >
          {isTable ? 'Show charts' : 'Show as table'}
        </Button>
      }
    >
      {data && (isTable ? <StatsTable columns={data.columns} /> : <Figures stats={data} window={window} />)}
    </Panel>
  );
}

function useTableChoice(): [boolean, (isTable: boolean) => void] {
  const [parameters, setParameters] = useSearchParams();
  const choose = (isTable: boolean): void => {
    setParameters((before) => {
      const next = new URLSearchParams(before);
      if (isTable) next.set('stats', 'table');
      else next.delete('stats');
      return next;
    });
  };
  return [parameters.get('stats') === 'table', choose];
}

function Figures({ stats, window }: { stats: Stats; window: TimeWindow }) {
  const { columns, queue, run } = stats;
  return (
    <SimpleGrid cols={{ base: 1, md: 3 }} spacing="lg">
      <Figure
        title="Finished and failed"
        figures={totalsText(columns)}
        kind="ended"
        {...{ columns, window }}
      />
      <Figure title="Queue time" figures={percentilesText(queue)} kind="queue" {...{ columns, window }} />
      <Figure title="Run time" figures={percentilesText(run)} kind="run" {...{ columns, window }} />
    </SimpleGrid>
  );
}

export type FigureKind = 'ended' | 'queue' | 'run';

interface FigureProps {
  title: string;
  figures: string;
  kind: FigureKind;
  columns: readonly Column[];
  window: TimeWindow;
}

/** A chart, with its figures over the whole window as text. */
function Figure({ title, figures, kind, columns, window }: FigureProps) {
  return (
    <figure style={{ margin: 0, minWidth: 0 }} aria-label={`${title}, ${window.words}: ${figures}`}>
      <figcaption>
        <Text size="sm" fw={600}>
          {title}
        </Text>
        <Text size="xs" c="dimmed">
          {figures}
        </Text>
      </figcaption>
      <div style={{ minHeight: CHART_HEIGHT }} aria-hidden>
        <Suspense>
          <Charts kind={kind} columns={columns} bucketSeconds={window.bucketSeconds} />
        </Suspense>
      </div>
    </figure>
  );
}

function totalsText(columns: readonly Column[]): string {
  const { succeeded, failed, revoked } = totalsOf(columns);
  return `${countText(succeeded)} succeeded · ${countText(failed)} failed · ${countText(revoked)} cancelled`;
}
