import { Box, Group, Text, Timeline as Line } from '@mantine/core';
import {
  IconAlertTriangle,
  IconBan,
  IconCheck,
  IconClock,
  IconHandStop,
  IconHourglass,
  IconPlayerPlay,
  IconPlus,
  IconPoint,
  IconRotateClockwise,
  IconUnlink,
  type TablerIcon,
} from '@tabler/icons-react';
import { Fragment, useMemo } from 'react';
import { useServerNow } from '@/live/serverClock';
import { Panel } from '@/ui/Panel';
import { Time } from '@/ui/Time';
import { duration } from '@/ui/times';
import type { TaskState } from './documents';
import {
  type Kind,
  type Moment,
  type Phase,
  secondsOf,
  type Segment,
  timelineOf,
  totalsOf,
} from './timeline';
import classes from './Timeline.module.css';

/** How each kind of waiting is called. */
const PHASES: Record<Phase, string> = {
  scheduled: 'until its start time',
  queued: 'in the queue',
  retry: 'for a retry',
  running: 'running',
  unknown: 'not kept in the history',
};

const LOOKS: Record<Kind, { icon: TablerIcon; color: string }> = {
  created: { icon: IconPlus, color: 'gray' },
  queued: { icon: IconHourglass, color: 'gray' },
  scheduled: { icon: IconClock, color: 'grape' },
  started: { icon: IconPlayerPlay, color: 'blue' },
  state: { icon: IconPoint, color: 'blue' },
  retry: { icon: IconRotateClockwise, color: 'orange' },
  lost: { icon: IconUnlink, color: 'red' },
  cancelRequested: { icon: IconHandStop, color: 'orange' },
  succeeded: { icon: IconCheck, color: 'green' },
  failed: { icon: IconAlertTriangle, color: 'red' },
  revoked: { icon: IconBan, color: 'dark' },
};

/** What happened to a task, with waiting and running apart. */
export function Timeline({ task }: { task: TaskState }) {
  const { moments, segments, isCut } = useMemo(() => timelineOf(task), [task]);
  return (
    <Panel title="Timeline">
      <div>
        <Bar segments={segments} />
        {isCut && (
          <Text size="xs" c="dimmed" mt="xs">
            Only the last {task.history.length} changes are kept.
          </Text>
        )}
        <Line
          mt="md"
          active={moments.length - 1}
          bulletSize={22}
          lineWidth={2}
          component="ol"
          className={classes.list}
          aria-label="Changes of the task"
        >
          {moments.map((moment, index) => {
            const isLast = index === moments.length - 1;
            const { icon: Icon, color } = LOOKS[moment.kind];
            const isWaiting = moment.segment !== null && moment.segment.phase !== 'running';
            return (
              <Line.Item
                key={`${moment.at} ${moment.kind} ${index}`}
                component="li"
                mt={index === 0 ? 0 : 8}
                color={color}
                bullet={<Icon size={13} aria-hidden />}
                lineVariant={isWaiting ? 'dotted' : 'solid'}
                aria-current={isLast ? 'step' : undefined}
                title={<Heading moment={moment} isLast={isLast} />}
              >
                <Details moment={moment} />
              </Line.Item>
            );
          })}
        </Line>
      </div>
    </Panel>
  );
}

function Heading({ moment, isLast }: { moment: Moment; isLast: boolean }) {
  return (
    <Text size="sm" fw={isLast ? 700 : 500} component="span">
      {moment.title}
      {moment.actor !== null && ` by ${moment.actor}`}
    </Text>
  );
}

function Details({ moment }: { moment: Moment }) {
  return (
    <>
      {moment.detail !== null && (
        <Text size="xs" style={{ overflowWrap: 'anywhere', whiteSpace: 'pre-wrap' }}>
          {moment.detail}
        </Text>
      )}
      <Text size="xs" c="dimmed" style={{ overflowWrap: 'anywhere' }}>
        <Time at={moment.at} />
        {moment.worker !== null && moment.kind === 'started' && ` · ${moment.worker}`}
        {moment.segment && (
          <>
            {' · '}
            <Lasts segment={moment.segment} />
          </>
        )}
      </Text>
    </>
  );
}

const VERBS: Record<Phase, [past: string, present: string]> = {
  scheduled: ['waited', 'has waited'],
  queued: ['waited', 'has waited'],
  retry: ['waited', 'has waited'],
  running: ['ran', 'has run'],
  unknown: ['', ''],
};

function Lasts({ segment }: { segment: Segment }) {
  const [past, present] = VERBS[segment.phase];
  if (segment.to !== null) return `${past} ${duration(secondsOf(segment, segment.to))}`;
  return (
    <>
      {present} <Since segment={segment} />
    </>
  );
}

function Since({ segment }: { segment: Segment }) {
  return duration(secondsOf(segment, useServerNow()));
}

/** The whole life of the task as a bar, whose parts are as long as they lasted, and as sums. */
function Bar({ segments }: { segments: readonly Segment[] }) {
  const now = useServerNow();
  const totals = totalsOf(segments, now);
  // As shares: a sum below 1 would leave a part of the bar empty.
  const whole = totals.reduce((sum, [, seconds]) => sum + seconds, 0);
  const text = totals.map(([phase, seconds]) => `${sentence(phase)} ${duration(seconds)}`);
  return (
    <>
      <div className={classes.bar} role="img" aria-label={text.join(', ')}>
        {segments.map((segment) => (
          <Box
            key={`${segment.phase} ${segment.from} ${segment.to}`}
            className={classes.part}
            data-phase={segment.phase}
            style={{ flexGrow: Math.max(secondsOf(segment, now) / (whole || 1), 0.001) }}
          />
        ))}
      </div>
      <Group gap="md" mt={6}>
        {totals.map(([phase, seconds]) => (
          <Fragment key={phase}>
            <Group gap={6} wrap="nowrap">
              <span className={classes.sample} data-phase={phase} aria-hidden />
              <Text size="xs">
                {sentence(phase)} <b>{duration(seconds)}</b>
              </Text>
            </Group>
          </Fragment>
        ))}
      </Group>
    </>
  );
}

const sentence = (phase: Phase): string =>
  phase === 'running' ? 'Running' : phase === 'unknown' ? 'Not in the history' : `Waiting ${PHASES[phase]}`;
