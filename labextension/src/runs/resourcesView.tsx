/**
 * What a run has used, drawn over time.
 */
import type { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import type { Run } from '../api/types';
import { Line } from '../charts/line';
import { cores, size, sizes } from '../resources/words';
import { hasEnded } from './events';
import type { ISeries, RunUsage } from './resources';
import { lasted } from './words';

const SIZE = { width: 360, height: 96 };

interface IProps {
  usage: RunUsage;
  run: Run;
  trans: TranslationBundle;
}

export function Resources({ usage, run, trans }: IProps): React.ReactElement {
  const { cpu, memory, gpuMemory } = usage;
  const { cpu_seconds, peak_memory_bytes, memory_limit_bytes, gpu_seconds } = run;
  const inCores = (count: number) => trans.__('%1 cores', cores(count));
  const totals = [
    cpu_seconds === null ? '' : trans.__('%1 of processor time', lasted(cpu_seconds, trans)),
    peak_memory_bytes
      ? trans.__('%1 of memory at most', sizes(peak_memory_bytes, memory_limit_bytes, trans))
      : '',
    gpu_seconds ? trans.__('%1 of GPU time', lasted(gpu_seconds, trans)) : ''
  ].filter(Boolean);
  return (
    <div className="jp-ElementRun-resources">
      {totals.length ? <p>{totals.join(' · ')}</p> : null}
      {memory === null ? (
        <p>
          {hasEnded(run)
            ? trans.__('It was over before anything was measured over time.')
            : trans.__('Nothing has been measured yet.')}
        </p>
      ) : null}
      <Chart title={trans.__('CPU')} series={cpu} format={inCores} trans={trans} />
      <Chart
        title={trans.__('Memory')}
        series={memory}
        format={size}
        limit={memory_limit_bytes ?? undefined}
        trans={trans}
      />
      <Chart title={trans.__('GPU memory')} series={gpuMemory} format={size} trans={trans} />
    </div>
  );
}

function Chart({
  title,
  series,
  format,
  limit,
  trans
}: {
  title: string;
  series: ISeries | null;
  format: (value: number) => string;
  limit?: number;
  trans: TranslationBundle;
}): React.ReactElement | null {
  if (!series) {
    return null;
  }
  const { points, highest, average } = series;
  const said = trans.__('%1: at most %2, on average %3', title, format(highest), format(average));
  return (
    <figure>
      <figcaption>{said}</figcaption>
      <Line points={points} limit={limit} label={said} format={format} {...SIZE} />
    </figure>
  );
}
