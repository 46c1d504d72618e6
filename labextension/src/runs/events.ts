/**
 * What a run tells, by the names that the views use.
 */
import type { components } from '../api/schema';
import type { Run } from '../api/types';

type Schemas = components['schemas'];

/** One event of a run's stream. */
export type RunEvent = Schemas['Event'];

/** Where and how a notebook failed. */
export type FailingCell = NonNullable<Run['failing_cell']>;

/** A file that a run left. */
export type Artifact = Schemas['Artifact'];

const ENDED: ReadonlySet<Run['state']> = new Set(['succeeded', 'failed', 'stopped', 'lost']);

/** Whether a run in this state will never change again. */
export function isEnded(state: Run['state']): boolean {
  return ENDED.has(state);
}

/** Whether a run will never change again. */
export function hasEnded(run: Run): boolean {
  return isEnded(run.state);
}
