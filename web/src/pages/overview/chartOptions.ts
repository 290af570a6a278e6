/** What the charts look like: uPlot's options and data. */
import type uPlot from 'uplot';
import type { FigureKind } from './StatsPanel';
import { type Column, figure } from './stats';

export interface Colors {
  text: string;
  grid: string;
}

interface Line {
  label: string;
  stroke: string;
  dash?: number[];
  of: (column: Column) => number | null;
}

const SUCCEEDED = '#2b8a3e';
const FAILED = '#e03131';
const CANCELLED = '#868e96';
const BLUES = { light: ['#1864ab', '#1c7ed6', '#4dabf7'], dark: ['#d0ebff', '#74c0fc', '#339af0'] };
const DASHES = [undefined, [7, 4], [2, 3]];
const HALF_DAY = 43_200;

const CLOCK = new Intl.DateTimeFormat('en', { hour: '2-digit', minute: '2-digit', hour12: false });
const DATE = new Intl.DateTimeFormat('en', { month: 'short', day: 'numeric' });
const MOMENT = new Intl.DateTimeFormat('en', {
  month: 'short',
  day: 'numeric',
  hour: '2-digit',
  minute: '2-digit',
  hour12: false,
});

const format = (formatter: Intl.DateTimeFormat, at: number): string => formatter.format(new Date(at * 1_000));

/** The parts of the stacked columns, from the bottom up. */
const PARTS: readonly Line[] = [
  { label: 'Failed', stroke: FAILED, of: ({ failed }) => failed },
  { label: 'Succeeded', stroke: SUCCEEDED, of: ({ succeeded }) => succeeded },
  { label: 'Cancelled', stroke: CANCELLED, of: ({ revoked }) => revoked },
];

function percentileLines(kind: 'queue' | 'run', scheme: 'light' | 'dark'): Line[] {
  return (['p50', 'p95', 'p99'] as const).map((name, index) => ({
    label: name,
    stroke: BLUES[scheme][index] ?? '',
    dash: DASHES[index],
    of: (column) => column[kind][name] ?? null,
  }));
}

const linesOf = (kind: FigureKind, scheme: 'light' | 'dark'): readonly Line[] =>
  kind === 'ended' ? PARTS : percentileLines(kind, scheme);

/** Returns the data of a chart. Stacked parts are drawn from the whole down, each over the ones above it. */
export function dataOf(kind: FigureKind, columns: readonly Column[]): uPlot.AlignedData {
  const times = columns.map(({ at }) => at);
  if (kind !== 'ended') return [times, ...percentileLines(kind, 'light').map(({ of }) => columns.map(of))];
  const heights = PARTS.map((_, index) =>
    columns.map((column) => PARTS.slice(0, index + 1).reduce((sum, { of }) => sum + (of(column) ?? 0), 0)),
  );
  return [times, ...heights.reverse()];
}

interface Look {
  kind: FigureKind;
  scheme: 'light' | 'dark';
  colors: Colors;
  width: number;
  height: number;
  bucketSeconds: number;
  bars: uPlot.Series.PathBuilder | undefined;
}

export function optionsOf(look: Look): uPlot.Options {
  const { kind, colors, width, height, bucketSeconds } = look;
  const isCount = kind === 'ended';
  const axis = { stroke: colors.text, grid: { stroke: colors.grid, width: 1 }, ticks: { show: false } };
  const yText = isCount ? (value: number) => String(value) : figure;
  return {
    width,
    height,
    cursor: { drag: { x: false, y: false }, points: { show: !isCount } },
    scales: {
      x: { time: true, range: (_, min, max) => [min, max + (isCount ? bucketSeconds : 0)] },
      y: { range: (_, __, max) => [0, max > 0 ? max * 1.1 : 1] },
    },
    axes: [
      {
        ...axis,
        space: 60,
        size: 30,
        values: (_, splits) => splits.map((at) => timeText(at, bucketSeconds)),
      },
      {
        ...axis,
        size: isCount ? 48 : 62,
        incrs: isCount ? COUNT_STEPS : undefined,
        values: (_, splits) => splits.map(yText),
      },
    ],
    series: [{ label: 'From', value: (_, at) => momentText(at) }, ...seriesOf(look)],
  };
}

/** Counts have no half tasks. */
const COUNT_STEPS = Array.from({ length: 10 }, (_, power) =>
  [1, 2, 5].map((step) => step * 10 ** power),
).flat();

function seriesOf({ kind, scheme, bars }: Look): uPlot.Series[] {
  const lines = linesOf(kind, scheme);
  if (kind !== 'ended') {
    return lines.map(({ label, stroke, dash }) => ({
      label,
      stroke,
      dash,
      width: 1.5,
      points: { show: true, size: 4 },
      value: (_, seconds: number | null) => figure(seconds),
    }));
  }
  return lines.toReversed().map(({ label, stroke }, index) => ({
    label,
    stroke,
    fill: stroke,
    width: 0,
    points: { show: false },
    paths: bars,
    value: (chart, _, __, at) => partText(chart.data, index + 1, at),
  }));
}

/** Returns the part that a stacked column adds to the one below it, which is the next series. */
function partText(data: uPlot.AlignedData, series: number, at: number | null): string {
  if (at === null) return '–';
  const below = data[series + 1]?.[at] ?? 0;
  return String((data[series]?.[at] ?? 0) - below);
}

const timeText = (at: number, bucketSeconds: number): string =>
  format(bucketSeconds * 10 > HALF_DAY ? DATE : CLOCK, at);

const momentText = (at: number | null): string => (at === null ? '' : format(MOMENT, at));
