/** A chart by uPlot, which draws on a canvas: the texts and the table beside it are for everybody else. */
import { useComputedColorScheme } from '@mantine/core';
import { useElementSize } from '@mantine/hooks';
import { useEffect, useMemo, useRef } from 'react';
import uPlot from 'uplot';
import 'uplot/dist/uPlot.min.css';
import { dataOf, optionsOf } from './chartOptions';
import styles from './Charts.module.css';
import { CHART_HEIGHT, type FigureKind } from './StatsPanel';
import type { Column } from './stats';

interface Props {
  kind: FigureKind;
  columns: readonly Column[];
  bucketSeconds: number;
}

// Two lines.
const LEGEND_HEIGHT = 52;
const COLORS = {
  light: { text: '#495057', grid: '#e9ecef' },
  dark: { text: '#c9c9c9', grid: '#3b3b3b' },
};

export default function Charts({ kind, columns, bucketSeconds }: Props) {
  const { ref, width } = useElementSize();
  const target = useRef<HTMLDivElement>(null);
  const chart = useRef<uPlot | null>(null);
  const scheme = useComputedColorScheme('light');
  const data = useMemo(() => dataOf(kind, columns), [kind, columns]);
  const drawn = useRef(data);

  useEffect(() => {
    drawn.current = data;
    chart.current?.setData(data);
  }, [data]);

  useEffect(() => {
    if (target.current === null || width === 0) return;
    const options = optionsOf({
      kind,
      scheme,
      colors: COLORS[scheme],
      width,
      height: CHART_HEIGHT - LEGEND_HEIGHT,
      bucketSeconds,
      bars: uPlot.paths.bars?.({ size: [0.8, 24], align: 1 }),
    });
    const made = new uPlot(options, drawn.current, target.current);
    chart.current = made;
    return () => {
      made.destroy();
      chart.current = null;
    };
  }, [kind, scheme, width, bucketSeconds]);

  return (
    <div ref={ref} className={styles.chart}>
      <div ref={target} />
    </div>
  );
}
