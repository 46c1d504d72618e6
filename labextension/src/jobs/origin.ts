/**
 * Where the notebook of a job lies, which the job itself does not say.
 */
import type { components } from '../api/schema';
import type { IElementClient } from '../tokens';

/**
 * Its path as JupyterLab knows it; null when that is not known, since somebody else has scheduled
 * it, or a person elsewhere.
 */
export async function originOf(
  { job: { snapshot_id, tasks } }: components['schemas']['StoredJob'],
  client: IElementClient
): Promise<string | null> {
  try {
    const { path } = await client.call('get', '/snapshots/{snapshot_id}/origin', {
      path: { snapshot_id },
      query: { notebook: tasks[0].notebook }
    });
    return path;
  } catch {
    return null; // all else works without
  }
}
