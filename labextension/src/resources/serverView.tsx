/**
 * This server: what it uses of what it may.
 */
import type { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import type { IPoint } from '../charts/line';
import { Line } from '../charts/line';
import { Trouble, Waiting } from '../environments/parts';
import { useAnswer } from '../jobs/list/answer';
import type { IElementClient } from '../tokens';
import type { ILive } from './live';
import type { Point, Sample } from './types';
import { cores, isClose, memoryShare, percent, size, sizes } from './words';

interface IProps {
  live: ILive;
  sample: Sample;
  client: IElementClient;
  trans: TranslationBundle;
}

/** A value that is followed over time. */
interface IMetric {
  valueOf: (point: Point) => number | null;
  format: (value: number) => string;
  limit?: number;
}

/** A value, and how near it is to its limit. */
interface IMeasured {
  label: string;
  value: string;
  /** Null without a limit. */
  share: number | null;
  /** Where the limit comes from. */
  source: string;
  /** Whether to mark a share that is high. */
  fills?: boolean;
  metric?: IMetric;
}

export function ServerView({ live, sample, client, trans }: IProps): React.ReactElement {
  const { marked } = live.limits();
  return (
    <>
      {measured(sample, trans).map(each => (
        <Measured
          key={each.label}
          {...each}
          close={each.fills === true && isClose(each.share, marked)}
          past={live.model.past}
          client={client}
          trans={trans}
        />
      ))}
      {sample.gpu_trouble ? <p>{sample.gpu_trouble}</p> : null}
    </>
  );
}

/** All that there is of this server. */
function measured(sample: Sample, trans: TranslationBundle): IMeasured[] {
  const { server, disks, gpus } = sample;
  const { cpu_cores, cpu_limit_cores, memory_bytes, memory_limit_bytes } = server;
  return [
    {
      label: trans.__('CPU'),
      value: trans.__('%1 of %2', cores(cpu_cores), cores(cpu_limit_cores)),
      share: cpu_cores / cpu_limit_cores,
      source: server.cpu_limit_source,
      metric: {
        valueOf: point => point.cpu_cores,
        format: value => trans.__('%1 cores', cores(value)),
        limit: cpu_limit_cores
      }
    },
    {
      label: trans.__('Memory'),
      value: sizes(memory_bytes, memory_limit_bytes, trans),
      share: memoryShare(sample),
      source: server.memory_limit_source,
      fills: true,
      metric: {
        valueOf: point => point.memory_bytes,
        format: size,
        limit: memory_limit_bytes ?? undefined
      }
    },
    ...gpus.flatMap(({ index, name, utilization, memory_bytes, memory_size_bytes }) => {
      const memory: IMeasured = {
        label: trans.__('Memory of GPU %1', index),
        value: sizes(memory_bytes, memory_size_bytes, trans),
        share: memory_bytes / memory_size_bytes,
        source: name
      };
      if (gpus.length === 1) {
        const limit = memory_size_bytes;
        memory.metric = { valueOf: point => point.gpu_memory_bytes, format: size, limit };
      }
      const busy = trans.__('GPU %1', index);
      return utilization === null
        ? [memory]
        : [{ label: busy, value: percent(utilization), share: utilization, source: name }, memory];
    }),
    ...disks.map(({ name, path, used_bytes, size_bytes }) => ({
      label: name === 'home' ? trans.__('Disk of home') : trans.__('Disk of project'),
      value: sizes(used_bytes, size_bytes, trans),
      share: used_bytes / size_bytes,
      source: path,
      fills: true
    }))
  ];
}

/** One value of its limit, and how it was; a click on that shows more of it. */
function Measured({
  label,
  value,
  share,
  source,
  close,
  metric,
  past,
  client,
  trans
}: IMeasured & {
  close: boolean;
  past: readonly Point[];
  client: IElementClient;
  trans: TranslationBundle;
}): React.ReactElement {
  const id = React.useId();
  const [open, setOpen] = React.useState(false);
  const points = metric ? followed(past, metric) : [];
  return (
    <div className={`jp-ElementMeasured${close ? ' jp-mod-close' : ''}`}>
      <div className="jp-ElementMeasured-head" title={source}>
        <span id={id}>{label}</span>
        <span>
          {close ? <strong>⚠ {trans.__('nearly full')} </strong> : null}
          {value}
        </span>
      </div>
      {share === null ? null : (
        <div
          role="meter"
          aria-labelledby={id}
          aria-valuemin={0}
          aria-valuemax={100}
          aria-valuenow={Math.round(Math.min(share, 1) * 100)}
          aria-valuetext={`${value}, ${source}`}
          title={source}
        >
          <div style={{ width: `${Math.min(share, 1) * 100}%` }} />
        </div>
      )}
      {metric && points.length > 1 ? (
        <Line
          points={points}
          width={240}
          height={28}
          limit={metric.limit}
          format={metric.format}
          label={
            open
              ? trans.__('%1 in the last ten minutes; show less', label)
              : trans.__('%1 in the last ten minutes; show more', label)
          }
          onClick={() => setOpen(!open)}
        />
      ) : null}
      {metric && open ? <Past label={label} metric={metric} client={client} trans={trans} /> : null}
    </div>
  );
}

/** The last hour, or the last day, in a larger chart. */
function Past({
  label,
  metric,
  client,
  trans
}: {
  label: string;
  metric: IMetric;
  client: IElementClient;
  trans: TranslationBundle;
}): React.ReactElement {
  const [hours, setHours] = React.useState<1 | 24>(1);
  return (
    <div className="jp-ElementPast">
      <div role="group" aria-label={trans.__('How much of the past')}>
        {([1, 24] as const).map(each => (
          <button
            key={each}
            type="button"
            className="jp-ElementButton jp-mod-styled"
            aria-pressed={hours === each}
            onClick={() => setHours(each)}
          >
            {trans.__('%1 h', each)}
          </button>
        ))}
      </div>
      <Chart key={hours} {...{ hours, label, metric, client, trans }} />
    </div>
  );
}

function Chart({
  hours,
  label,
  metric,
  client,
  trans
}: {
  hours: 1 | 24;
  label: string;
  metric: IMetric;
  client: IElementClient;
  trans: TranslationBundle;
}): React.ReactElement {
  const [asked, again] = useAnswer(() =>
    client.call('get', '/resources/history', { query: { hours } })
  );
  switch (asked.kind) {
    case 'loading':
      return <Waiting text={trans.__('Looking at the past…')} />;
    case 'failed':
      return <Trouble problem={asked.problem} again={again} trans={trans} />;
    case 'ready': {
      const points = followed(asked.answer.server, metric);
      const most = points.reduce((highest, { value }) => Math.max(highest, value), 0);
      return (
        <Line
          points={points}
          width={240}
          height={110}
          limit={metric.limit}
          format={metric.format}
          label={trans._n(
            '%2 in the last hour: at most %3',
            '%2 in the last %1 hours: at most %3',
            hours,
            label,
            metric.format(most)
          )}
        />
      );
    }
  }
}

function followed(points: readonly Point[], { valueOf }: IMetric): IPoint[] {
  return points.flatMap(point => {
    const value = valueOf(point);
    return value === null ? [] : [{ at: Date.parse(point.at), value }];
  });
}
