/**
 * What went before a run: others like it, its other attempts, and what is not as it was.
 */
import type { TranslationBundle } from '@jupyterlab/translation';

import type { components } from '../api/schema';
import type { Run } from '../api/types';
import { filesBetween } from '../jobs/list/changes';
import type { IElementClient } from '../tokens';
import { valueText } from './words';

/** What went before. */
export interface IPast {
  /** The last few that succeeded, newest first. */
  readonly succeeded: readonly Run[];
  /** This run and the other tries of the same task in the same DAG run, in order. */
  readonly attempts: readonly Run[];
  /** Files that are not as they were when it last succeeded; null when that cannot be told. */
  readonly files: readonly string[] | null;
}

/** One thing that differs from the last success, or does not. */
export interface IDifference {
  readonly what: string;
  readonly changed: boolean;
  readonly lines: readonly string[];
}

/** Files of a project that are written, rather than measured. */
const IS_CODE =
  /\.(ipynb|pyi?|r|rmd|qmd|jl|sql|sh|js|ts|c|h|cpp|hpp|java|scala|rs|go|toml|ya?ml|cfg|ini|lock|md|rst)$|(^|\/)(requirements[^/]*\.txt|Makefile|Dockerfile|\.[^/]+)$/i;

const MOST_RUNS = 5;
const MOST_OTHERS = 20;

/** Ask for what went before a run. */
export async function pastOf(client: IElementClient, run: Run): Promise<IPast> {
  const job = run.job ?? undefined;
  const [ended, tries] = await Promise.all([
    client.call('get', '/runs', { query: { job, state: 'succeeded', limit: job ? 50 : 200 } }),
    run.dag_run_id === null
      ? null
      : client.call('get', '/runs', {
          query: { job, logical_date: run.logical_date ?? undefined, limit: 200 }
        })
  ]);
  const succeeded = ended.items
    .filter(other => isLike(other, run) && other.created_at < run.created_at)
    .slice(0, MOST_RUNS);
  const attempts = (tries?.items ?? [])
    .filter(other => other.dag_run_id === run.dag_run_id && other.task === run.task)
    .sort((one, other) => one.created_at.localeCompare(other.created_at));
  const [last] = succeeded;
  return { succeeded, attempts, files: last ? await changedFiles(client, last, run) : null };
}

/** The other recent runs of the same job or notebook, newest first, but the last success before all. */
export async function othersOf(client: IElementClient, run: Run): Promise<Run[]> {
  const job = run.job ?? undefined;
  const { items } = await client.call('get', '/runs', { query: { job, limit: job ? 50 : 200 } });
  const others = items.filter(other => isLike(other, run) && other.run_id !== run.run_id);
  const last = others.filter(({ state }) => state === 'succeeded').slice(0, 1);
  return [...last, ...others.filter(other => other !== last[0])].slice(0, MOST_OTHERS);
}

/** Two runs to compare, the older one first. */
export function comparable(one: Run, other: Run): { first: string; second: string } {
  const [first, second] = one.created_at <= other.created_at ? [one, other] : [other, one];
  return { first: first.run_id, second: second.run_id };
}

/** The body that starts the same run again. */
export function againOf(run: Run): components['schemas']['RunRequest'] {
  const { parameters, allow_extra_parameters, size, time_limit_seconds } = run;
  const { cell_time_limit_seconds } = run;
  const limits = {
    parameters,
    allow_extra_parameters,
    size: size ?? undefined,
    time_limit_seconds,
    cell_time_limit_seconds: cell_time_limit_seconds ?? undefined,
    trigger: 'manual' as const
  };
  if (run.job !== null) {
    const { job, job_version, task, logical_date } = run;
    return {
      ...limits,
      job,
      task,
      version: job_version ?? undefined,
      logical_date: logical_date ?? undefined
    };
  }
  const { notebook, snapshot_id, team, environment, kernel, environment_id } = run;
  return {
    ...limits,
    notebook,
    snapshot_id,
    team,
    environment: environment ?? undefined,
    // where an environment was found, it brings its kernel
    kernel: environment_id === null ? (kernel ?? undefined) : undefined
  };
}

/** What differs between a run and the last that succeeded. */
export function differences(
  run: Run,
  last: Run,
  files: readonly string[] | null,
  trans: TranslationBundle
): IDifference[] {
  const names = Array.from(
    new Set([...Object.keys(last.parameters), ...Object.keys(run.parameters)])
  );
  const parameters = names
    .map(name => [name, shown(last.parameters[name], trans), shown(run.parameters[name], trans)])
    .filter(([, before, now]) => before !== now)
    .map(([name, before, now]) => trans.__('%1: %2, now %3', name, before, now));
  const environment = [
    [last.definition ?? last.kernel, run.definition ?? run.kernel],
    [last.python, run.python]
  ]
    .filter(([before, now]) => before !== now)
    .map(([before, now]) => trans.__('%1, now %2', before ?? '–', now ?? '–'));
  const another = last.snapshot_id !== run.snapshot_id;
  const code = (files ?? []).filter(path => IS_CODE.test(path));
  const data = (files ?? []).filter(path => !IS_CODE.test(path));
  return [
    {
      what: trans.__('Code'),
      // what cannot be looked into may be either
      changed: files === null ? another : code.length > 0,
      lines: code
    },
    {
      what: trans.__('Data'),
      changed: files === null ? another : data.length > 0,
      lines: data
    },
    {
      what: trans.__('Environment'),
      changed: last.environment_id !== run.environment_id || last.lock_id !== run.lock_id,
      lines: environment
    },
    { what: trans.__('Parameters'), changed: parameters.length > 0, lines: parameters }
  ];
}

function shown(value: unknown, trans: TranslationBundle): string {
  return value === undefined ? trans.__('not given') : valueText(value).slice(0, 200);
}

function isLike(other: Run, run: Run): boolean {
  return run.job === null
    ? other.job === null && other.notebook === run.notebook && other.team === run.team
    : other.job === run.job && other.task === run.task;
}

async function changedFiles(
  client: IElementClient,
  last: Run,
  run: Run
): Promise<readonly string[] | null> {
  if (last.snapshot_id === run.snapshot_id) {
    return [];
  }
  try {
    const [before, now] = await Promise.all(
      [last, run].map(({ snapshot_id }) =>
        client.call('get', '/snapshots/{snapshot_id}', { path: { snapshot_id } })
      )
    );
    return filesBetween(before, now).map(({ path }) => path);
  } catch {
    return null; // a snapshot is not kept for ever
  }
}
