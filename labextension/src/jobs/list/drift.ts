/**
 * Which notebooks are no longer as they were when they were scheduled.
 */
import { originOf } from '../origin';
import type { IServices } from '../services';
import type { StoredJob } from './words';
import { idOf } from './words';

/** A notebook that has changed: where it lies, and what it is now. */
export interface IDrift {
  readonly path: string;
  readonly digest: string;
}

/**
 * Compare the notebook of a job with the one in its snapshot; null when they are the same, or when
 * that cannot be told: only of what a person has scheduled is it known where the notebook lies.
 */
export async function driftOf(
  stored: StoredJob,
  { client, contents }: IServices
): Promise<IDrift | null> {
  const path = stored.job.tasks.length === 1 ? await originOf(stored, client) : null;
  if (path === null) {
    return null;
  }
  try {
    const { hash, hash_algorithm } = await contents.get(path, { content: false, hash: true });
    if (
      !hash ||
      hash_algorithm !== 'sha256' ||
      window.localStorage.getItem(keyOf(stored)) === hash
    ) {
      return null;
    }
    const { snapshot_id, tasks } = stored.job;
    const { entries } = await client.call('get', '/snapshots/{snapshot_id}', {
      path: { snapshot_id }
    });
    const kept = entries.find(entry => entry.path === tasks[0].notebook && entry.link === null);
    return kept && kept.digest !== hash ? { path, digest: hash } : null;
  } catch {
    return null; // the notebook has gone, or the snapshot has
  }
}

/** The job is to go on with the notebook that it has, whatever this one is. */
export function keepNotebook(stored: StoredJob, { digest }: IDrift): void {
  try {
    window.localStorage.setItem(keyOf(stored), digest);
  } catch {
    // the browser keeps nothing more: it is asked again
  }
}

function keyOf(stored: StoredJob): string {
  return `element:kept-notebook:${idOf(stored)}`;
}
