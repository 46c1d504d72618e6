/**
 * How runs are told to people.
 */
import type { TranslationBundle } from '@jupyterlab/translation';

import type { Run } from '../api/types';
import { hasEnded } from './events';

/** A state in one word. */
export function stateWord(state: Run['state'], trans: TranslationBundle): string {
  switch (state) {
    case 'queued':
      return trans.__('Queued');
    case 'starting':
      return trans.__('Starting');
    case 'running':
      return trans.__('Running');
    case 'succeeded':
      return trans.__('Succeeded');
    case 'failed':
      return trans.__('Failed');
    case 'stopped':
      return trans.__('Stopped');
    case 'lost':
      return trans.__('Lost');
  }
}

/** The sign that goes with a state; the word says the same. */
export function stateSign(state: Run['state']): string {
  const signs: Record<Run['state'], string> = {
    queued: '◷',
    starting: '◔',
    running: '◔',
    succeeded: '✓',
    failed: '✕',
    stopped: '■',
    lost: '?'
  };
  return signs[state];
}

/** Who or what asked for the run. */
export function askedBy(run: Run, trans: TranslationBundle): string {
  const job = run.job ?? run.notebook;
  switch (run.trigger) {
    case 'schedule':
      return trans.__('by the schedule of %1', job);
    case 'backfill':
      return trans.__('to fill a gap of %1', job);
    case 'asset':
      return trans.__('since an asset of %1 has changed', job);
    case 'api':
      return trans.__('by a program of %1', run.owner);
    default:
      return trans.__('by %1', run.owner);
  }
}

/** What a run is called: its job's name and task, or its notebook's without its ending. */
export function nameOf(run: Run): string {
  if (run.job === null) {
    return run.notebook.replace(/^.*\//, '').replace(/\.ipynb$/, '');
  }
  const name = run.job.replace(/^.*\//, '');
  return run.task === 'main' ? name : `${name} · ${run.task}`;
}

/** A time span, as people say it. */
export function lasted(seconds: number, trans: TranslationBundle): string {
  if (seconds < 10) {
    return trans.__('%1 s', (Math.floor(seconds * 10) / 10).toString());
  }
  const whole = Math.floor(seconds);
  if (whole < 60) {
    return trans.__('%1 s', whole.toString());
  }
  if (whole < 3600) {
    return trans.__('%1 min %2 s', Math.floor(whole / 60), whole % 60);
  }
  return trans.__('%1 h %2 min', Math.floor(whole / 3600), Math.floor((whole % 3600) / 60));
}

/** How long a run has taken, or takes so far, in seconds; null before it has started. */
export function secondsOf(run: Run, now: number): number | null {
  if (run.started_at === null) {
    return null;
  }
  const end = run.finished_at ? Date.parse(run.finished_at) : now;
  return Math.max(0, (end - Date.parse(run.started_at)) / 1000);
}

/** How long runs like this one take, in seconds: the middle of the last few; null without any. */
export function usualSeconds(runs: readonly Run[]): number | null {
  const spans = runs
    .map(run => (hasEnded(run) ? secondsOf(run, 0) : null))
    .filter((seconds): seconds is number => seconds !== null)
    .sort((one, other) => one - other);
  return spans.length ? spans[Math.floor((spans.length - 1) / 2)] : null;
}

/** A value of JSON on one line. */
export function valueText(value: unknown): string {
  return typeof value === 'string' ? value : JSON.stringify(value);
}
