/** The history of a task as a person reads it: what happened, who did it, and for how long the task waited and ran. */
import type { TaskState } from './documents';

export type Phase = 'scheduled' | 'queued' | 'retry' | 'running' | 'unknown';

/** A time between two changes of the status. Its end is null while it lasts. */
export interface Segment {
  phase: Phase;
  from: number;
  to: number | null;
}

export type Kind =
  | 'created'
  | 'queued'
  | 'scheduled'
  | 'started'
  | 'state'
  | 'retry'
  | 'lost'
  | 'cancelRequested'
  | 'succeeded'
  | 'failed'
  | 'revoked';

export interface Moment {
  kind: Kind;
  at: string;
  title: string;
  detail: string | null;
  actor: string | null;
  worker: string | null;
  /** What the task does from then on; null where the moment changes nothing, and after the end. */
  segment: Segment | null;
}

export interface Timeline {
  moments: Moment[];
  segments: Segment[];
  /** Whether the task has more history than the API keeps. */
  isCut: boolean;
}

type Transition = TaskState['history'][number];
type Task = Pick<TaskState, 'createdAt' | 'attempts' | 'history' | 'cancelRequestedAt' | 'isFinal'>;

const PHASES: Partial<Record<TaskState['status'], Phase>> = {
  SCHEDULED: 'scheduled',
  QUEUED: 'queued',
  RETRY: 'retry',
  STARTED: 'running',
};

/** Returns the moments and segments of a task. No segment is negative, whatever clocks the times are from. */
export function timelineOf(task: Task): Timeline {
  const history = [...task.history].sort((one, other) => one.revision - other.revision);
  const isCut = (history[0]?.revision ?? 1) > 1;
  const segments: Segment[] = [];
  let latest = Date.parse(task.createdAt);
  const begin = (phase: Phase | undefined, at: number): Segment | null => {
    latest = Math.max(latest, at);
    const open = segments.at(-1);
    if (open?.to === null) open.to = latest;
    if (phase === undefined) return null;
    const segment = { phase, from: latest, to: null };
    segments.push(segment);
    return segment;
  };
  if (isCut) begin('unknown', latest);
  let attempt = task.attempts - history.filter((each, index) => isStart(each, history[index - 1])).length;
  const moments = history.map((each, index): Moment => {
    const before = history[index - 1];
    if (isStart(each, before)) attempt += 1;
    const kind = kindOf(each, before);
    // A custom state of the function changes nothing, except where it is the first thing that is known.
    const isSame = kind === 'state' && before !== undefined;
    return {
      kind,
      at: each.at,
      title: titleOf(kind, attempt, each),
      detail: kind === 'state' ? null : each.message,
      actor: each.actor,
      worker: each.worker,
      segment: isSame ? null : begin(PHASES[each.status], Date.parse(each.at)),
    };
  });
  const request = cancelRequest(task, moments);
  if (request) moments.splice(placeOf(request.at, moments), 0, request);
  return { moments, segments, isCut };
}

const isStart = (each: Transition, before: Transition | undefined): boolean =>
  each.status === 'STARTED' && (before ? before.status !== 'STARTED' : each.message === null);

function kindOf(each: Transition, before: Transition | undefined): Kind {
  switch (each.status) {
    case 'SUCCESS':
      return 'succeeded';
    case 'FAILURE':
      return 'failed';
    case 'REVOKED':
      return 'revoked';
    case 'RETRY':
      return 'retry';
    case 'STARTED':
      return isStart(each, before) ? 'started' : 'state';
    case 'SCHEDULED':
      return before === undefined && each.revision === 1 ? 'created' : 'scheduled';
    case 'QUEUED':
      if (before === undefined && each.revision === 1) return 'created';
      return before?.status === 'STARTED' && each.message !== null ? 'lost' : 'queued';
  }
}

function titleOf(kind: Kind, attempt: number, { message, status }: Transition): string {
  switch (kind) {
    case 'created':
      return status === 'SCHEDULED' ? 'Created, to start later' : 'Created';
    case 'queued':
      return message === 'rescheduled' ? 'Rescheduled: to start at once' : 'Queued';
    case 'scheduled':
      return message === 'rescheduled' ? 'Rescheduled' : 'Waits for its start time';
    case 'started':
      return `Attempt ${attempt} started`;
    case 'state':
      return `State ${message ?? ''}`;
    case 'retry':
      return `Attempt ${attempt} failed and is to be retried`;
    case 'lost':
      return `Attempt ${attempt} was lost`;
    case 'cancelRequested':
      return 'Cancellation requested';
    case 'succeeded':
      return 'Succeeded';
    case 'failed':
      return 'Failed';
    case 'revoked':
      return 'Revoked';
  }
}

/** Returns the request to stop a running task, which the history does not have; null without one. */
function cancelRequest(task: Task, moments: readonly Moment[]): Moment | null {
  const at = task.cancelRequestedAt;
  const end = moments.find(({ kind }) => kind === 'revoked');
  // A task that only waited is revoked by the request itself.
  if (at === null || (end && Date.parse(end.at) <= Date.parse(at))) return null;
  const actor = end?.actor ?? null;
  return {
    kind: 'cancelRequested',
    at,
    title: titleOf('cancelRequested', 0, EMPTY),
    detail: null,
    actor,
    worker: null,
    segment: null,
  };
}

const EMPTY: Transition = {
  revision: 0,
  status: 'STARTED',
  at: '',
  worker: null,
  message: null,
  actor: null,
};

function placeOf(at: string, moments: readonly Moment[]): number {
  const place = moments.findIndex((each) => Date.parse(each.at) > Date.parse(at));
  return place === -1 ? moments.length : place;
}

/** Returns the seconds of a segment until its end, or until now; 0 if this computer's clock is behind. */
export const secondsOf = ({ from, to }: Segment, now: number): number =>
  Math.max(0, ((to ?? now) - from) / 1_000);

/** Returns for how long the task did each thing, in the order in which it first did them. */
export function totalsOf(segments: readonly Segment[], now: number): [Phase, number][] {
  const totals = new Map<Phase, number>();
  for (const segment of segments) {
    totals.set(segment.phase, (totals.get(segment.phase) ?? 0) + secondsOf(segment, now));
  }
  return [...totals];
}
