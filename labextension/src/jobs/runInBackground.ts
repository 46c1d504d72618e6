/**
 * From the notebook on the screen to a run on the platform.
 */
import { Notification } from '@jupyterlab/apputils';
import { PathExt } from '@jupyterlab/coreutils';
import type { NotebookPanel } from '@jupyterlab/notebook';
import type { TranslationBundle } from '@jupyterlab/translation';
import { PromiseDelegate } from '@lumino/coreutils';
import { Poll } from '@lumino/polling';

import { ElementProblem } from '../api/client';
import type { Run } from '../api/types';
import type { IElementClient } from '../tokens';

const ENDED: ReadonlySet<Run['state']> = new Set(['succeeded', 'failed', 'stopped', 'lost']);

/** How often a run is looked at until it has ended; later and later while the server is away. */
const LOOK = { interval: 2_000, max: 60_000, backoff: true };

/** Notebooks that are on their way. */
const sending = new Set<string>();

/**
 * Run the notebook as it is now, and tell the person how that goes and how it ended.
 *
 * @param path - the notebook's path on the server, without a drive
 * @param panel - where it is open, if it is: unsaved changes are saved first
 */
export async function runInBackground(
  client: IElementClient,
  trans: TranslationBundle,
  path: string,
  panel: NotebookPanel | null
): Promise<void> {
  if (sending.has(path)) {
    return; // a double click is one click
  }
  const name = PathExt.basename(path);
  sending.add(path);
  const submitted = submit(client, path, panel).finally(() => sending.delete(path));
  Notification.promise(submitted, {
    pending: { message: trans.__('Sending %1 to run in the background…', name) },
    success: {
      message: () => trans.__('Running %1 in the background.', name),
      options: { autoClose: 3_000 }
    },
    error: {
      message: reason => trans.__('%1 was not started: %2', name, sentence(reason)),
      options: { autoClose: false }
    }
  });
  let runId: string;
  try {
    runId = await submitted;
  } catch {
    return; // the notification above has said it
  }
  const last = await ended(client, runId);
  if (last) {
    tell(last, name, trans);
  }
}

/** Save, snapshot, start; the id of the run. */
async function submit(
  client: IElementClient,
  path: string,
  panel: NotebookPanel | null
): Promise<string> {
  if (panel?.context.model.dirty) {
    await panel.context.save();
  }
  const snapshot = await client.call('post', '/snapshots', { body: { path } });
  const run = await client.call('post', '/runs', {
    body: {
      notebook: snapshot.notebook,
      snapshot_id: snapshot.snapshot_id,
      trigger: 'manual'
    }
  });
  return run.run_id;
}

/** The run, once it has ended; null when the platform no longer knows it. */
async function ended(client: IElementClient, runId: string): Promise<Run | null> {
  const end = new PromiseDelegate<Run | null>();
  const poll = new Poll({
    name: `@element/labextension:run:${runId}`,
    frequency: LOOK,
    standby: 'when-hidden',
    factory: async () => {
      try {
        const run = await client.call('get', '/runs/{run_id}', { path: { run_id: runId } });
        if (ENDED.has(run.state)) {
          end.resolve(run);
        }
      } catch (reason) {
        if (reason instanceof ElementProblem && reason.status === 404) {
          end.resolve(null);
        }
        throw reason; // the poll backs off
      }
    }
  });
  return end.promise.finally(() => poll.dispose());
}

function tell(run: Run, name: string, trans: TranslationBundle): void {
  switch (run.state) {
    case 'succeeded':
      Notification.success(trans.__('%1 has run.', name), { autoClose: 5_000 });
      break;
    case 'stopped':
      Notification.warning(trans.__('%1 was stopped. %2', name, run.reason), {
        autoClose: false
      });
      break;
    case 'lost':
      Notification.error(trans.__('%1 was lost. %2', name, run.reason), { autoClose: false });
      break;
    default:
      Notification.error(trans.__('%1 failed. %2', name, run.reason), { autoClose: false });
  }
}

function sentence(reason: unknown): string {
  return reason instanceof Error ? reason.message : String(reason);
}
