/**
 * What differs between two versions of a job.
 */
import type { components } from '../../api/schema';
import type { StoredJob } from './words';

type Manifest = components['schemas']['Manifest'];

/** What is at one place of a definition, before and after; null where there is nothing. */
export interface IChange {
  readonly place: string;
  readonly before: string | null;
  readonly after: string | null;
}

/** What became of a file between two snapshots. */
export interface IFileChange {
  readonly path: string;
  readonly what: 'added' | 'removed' | 'changed';
}

/** What the definition says otherwise; the files are told apart by their snapshots. */
export function changesBetween(before: StoredJob, after: StoredJob): IChange[] {
  const [old, young] = [placesOf(before), placesOf(after)];
  const places = [...new Set([...old.keys(), ...young.keys()])].sort();
  return places
    .map(place => ({
      place,
      before: old.get(place) ?? null,
      after: young.get(place) ?? null
    }))
    .filter(change => change.before !== change.after);
}

/** Which files differ. */
export function filesBetween(before: Manifest, after: Manifest): IFileChange[] {
  const [old, young] = [contentsOf(before), contentsOf(after)];
  const paths = [...new Set([...old.keys(), ...young.keys()])].sort();
  return paths.flatMap((path): IFileChange[] => {
    if (!old.has(path)) {
      return [{ path, what: 'added' }];
    }
    if (!young.has(path)) {
      return [{ path, what: 'removed' }];
    }
    return old.get(path) === young.get(path) ? [] : [{ path, what: 'changed' }];
  });
}

function contentsOf({ entries }: Manifest): Map<string, string> {
  return new Map(
    entries.map(({ path, digest, link, executable }) => [
      path,
      `${digest} ${link ?? ''} ${executable}`
    ])
  );
}

/** Every place of a definition that holds something, with what it holds. */
function placesOf({ job, pins }: StoredJob): Map<string, string> {
  const { tasks, ...rest } = job;
  const found = new Map<string, string>();
  note(found, '', { ...rest, snapshot_id: null });
  for (const { name, ...task } of tasks) {
    const place = tasks.length === 1 ? '' : `${name}.`;
    note(found, place, task);
  }
  for (const [task, { definition, python, lock_id }] of Object.entries(pins)) {
    const place = tasks.length === 1 ? 'locked' : `${task}.locked`;
    found.set(place, `${definition}, Python ${python}, lock ${lock_id.slice(0, 12)}`);
  }
  return found;
}

function note(found: Map<string, string>, place: string, value: object): void {
  for (const [key, held] of Object.entries(value) as [string, unknown][]) {
    if (held === null || held === '') {
      continue;
    }
    if (typeof held === 'object' && !Array.isArray(held)) {
      note(found, `${place}${key}.`, held);
    } else {
      found.set(place + key, typeof held === 'string' ? held : JSON.stringify(held));
    }
  }
}
