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

export function ServerView({ live, sample, client, trans }: IProps): React.ReactElement {
  const { server, disks, gpus } = sample;
  const { marked } = live.limits();
  const { past } = live.model;
  const shared = { past, client, trans };
  const memory = memoryShare(sample);
  const gpuSize = gpus.reduce((sum, { memory_size_bytes }) => sum + memory_size_bytes, 0);
  return (
    <>
      <Measured
        {...shared}
        label={trans.__('CPU')}
        value={trans.__('%1 of %2', cores(server.cpu_cores), cores(server.cpu_limit_cores))}
        share={server.cpu_cores / server.cpu_limit_cores}
        source={server.cpu_limit_source}
        metric={{
          valueOf: point => point.cpu_cores,
          format: value => trans.__('%1 cores', cores(value)),
          limit: server.cpu_limit_cores
        }}
      />
      <Measured
        {...shared}
        label={trans.__('Memory')}
        value={sizes(server.memory_bytes, server.memory_limit_bytes, trans)}
        share={memory}
        source={server.memory_limit_source}
        close={isClose(memory, marked)}
        metric={{
          valueOf: point => point.memory_bytes,
          format: size,
          limit: server.memory_limit_bytes ?? undefined
        }}
      />
      {gpus.map(gpu => (
        <React.Fragment key={gpu.index}>
          {gpu.utilization === null ? null : (
            <Measured
              {...shared}
              label={trans.__('GPU %1', gpu.index)}
              value={percent(gpu.utilization)}
              share={gpu.utilization}
              source={gpu.name}
            />
          )}
          <Measured
            {...shared}
            label={trans.__('Memory of GPU %1', gpu.index)}
            value={sizes(gpu.memory_bytes, gpu.memory_size_bytes, trans)}
            share={gpu.memory_bytes / gpu.memory_size_bytes}
            source={gpu.name}
            metric={
              gpus.length === 1
                ? { valueOf: point => point.gpu_memory_bytes, format: size, limit: gpuSize }
                : undefined
            }
          />
        </React.Fragment>
      ))}
      {disks.map(disk => {
        const share = disk.used_bytes / disk.size_bytes;
        return (
          <Measured
            {...shared}
            key={disk.name}
            label={disk.name === 'home' ? trans.__('Disk of home') : trans.__('Disk of project')}
            value={sizes(disk.used_bytes, disk.size_bytes, trans)}
            share={share}
            source={disk.path}
            close={isClose(share, marked)}
          />
        );
      })}
    </>
  );
}

/** One value of its limit, and how it was; a click on that shows more of it. */
function Measured({
  label,
  value,
  share,
  source,
  close = false,
  metric,
  past,
  client,
  trans
}: {
  label: string;
  value: string;
  /** Null without a limit. */
  share: number | null;
  source: string;
  close?: boolean;
  metric?: IMetric;
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
