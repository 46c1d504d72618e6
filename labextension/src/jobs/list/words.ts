/**
 * What people read about runs and jobs; the same words in every list and notice.
 */
import type { TranslationBundle } from '@jupyterlab/translation';

import type { components } from '../../api/schema';
import type { Run } from '../../api/types';
import { hasEnded } from '../../runs/events';
import { secondsOf, stateWord } from '../../runs/words';

/** A job as the store keeps it. */
export type StoredJob = components['schemas']['StoredJob'];

/** When a job fires. */
export type Schedule = components['schemas']['Schedule'];

/** The states of a run, in the order in which they come. */
export const STATES: readonly Run['state'][] = [
  'queued',
  'starting',
  'running',
  'succeeded',
  'failed',
  'stopped',
  'lost'
];

/** What people call a job. */
export function titleOf({ job }: StoredJob): string {
  return job.title || job.name;
}

/** A job's id: `team/name`. */
export function idOf({ job }: StoredJob): string {
  return `${job.team}/${job.name}`;
}

/** Where a run is: its state, with its cells while it runs. */
export function standingOf(run: Run, trans: TranslationBundle): string {
  if (!hasEnded(run) && run.stop_requested_at !== null) {
    return trans.__('Stopping');
  }
  return run.state === 'running' && run.cells_total !== null
    ? trans.__('Running %1/%2', run.cells_done, run.cells_total)
    : stateWord(run.state, trans);
}

/** Who asked for a run. */
export function triggerWord(trigger: Run['trigger'], trans: TranslationBundle): string {
  switch (trigger) {
    case 'manual':
      return trans.__('By hand');
    case 'schedule':
      return trans.__('Schedule');
    case 'backfill':
      return trans.__('Backfill');
    case 'asset':
      return trans.__('After another job');
    case 'api':
      return trans.__('Program');
  }
}

/** How long a run has executed, or did; null before it begins. */
export function durationOf(run: Run, now: number): string | null {
  const span = secondsOf(run, now);
  if (span === null) {
    return null;
  }
  const seconds = Math.floor(span);
  const [hours, minutes] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60];
  const padded = (number: number) => String(number).padStart(2, '0');
  return hours > 0
    ? `${hours}:${padded(minutes)}:${padded(seconds % 60)}`
    : `${minutes}:${padded(seconds % 60)}`;
}

/** Why a run is where it is, in one line; nothing when it went well. */
export function reasonOf(run: Run): string {
  return run.state === 'succeeded' ? '' : (run.reason.split('\n', 1)[0] ?? '');
}

/** A moment, in the person's own time. */
export function moment(at: string): string {
  return new Date(at).toLocaleString(undefined, { dateStyle: 'medium', timeStyle: 'short' });
}

const STEPS: [Intl.RelativeTimeFormatUnit, number][] = [
  ['day', 86_400],
  ['hour', 3_600],
  ['minute', 60]
];

/** How far ahead a moment is: `in 3 hours`. */
export function ahead(at: string, now: number): string {
  const seconds = Math.max(60, (Date.parse(at) - now) / 1000);
  const [unit, length] = STEPS.find(([, each]) => seconds >= each) ?? STEPS[STEPS.length - 1];
  return new Intl.RelativeTimeFormat(undefined, { numeric: 'always' }).format(
    Math.floor(seconds / length),
    unit
  );
}

/** Whether every word of `wanted` is in one of the texts, in whatever case. */
export function holds(texts: readonly string[], wanted: string): boolean {
  const said = texts.map(text => text.toLocaleLowerCase());
  const words = wanted.toLocaleLowerCase().split(/\s+/);
  return words.every(word => said.some(text => text.includes(word)));
}
