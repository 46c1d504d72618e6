/**
 * From the notebook on the screen to a run on the platform.
 */
import { Notification } from '@jupyterlab/apputils';
import { PathExt } from '@jupyterlab/coreutils';
import type { NotebookPanel } from '@jupyterlab/notebook';
import { UUID } from '@lumino/coreutils';

import { problemOf } from '../api/client';
import { withPlatform } from './platform';
import type { RunRequest } from './schedule/form';
import { remembered } from './schedule/remembered';
import type { IServices } from './services';
import { CommandIDs } from './services';

/** How long something may take before it is said that it does, in milliseconds. */
const PATIENCE = 300;

const LONGEST_NOTICE = 20_000;

/** Notebooks that are on their way. */
const sending = new Set<string>();

/**
 * Run the notebook as it is now, with the values that it was given last, and say how that goes.
 *
 * How it ended is told later, by whichever window is there then.
 *
 * @param path - the notebook's path on the server, without a drive
 * @param panel - where it is open, if it is: unsaved changes are saved first
 */
export async function runInBackground(
  services: IServices,
  path: string,
  panel: NotebookPanel | null
): Promise<void> {
  if (sending.has(path)) {
    return; // a double click is one click
  }
  sending.add(path);
  const hide = showSending(services, path);
  try {
    const runId = await submit(services, path, panel);
    services.watched.add(runId, PathExt.basename(path));
    tellStarted(services, path, runId);
  } catch (reason) {
    tellRefused(services, path, reason);
  } finally {
    hide();
    sending.delete(path);
  }
}

/**
 * Say that the notebook is on its way, if that takes a moment; returns what takes the notice away.
 *
 * JupyterLab loses what becomes of a notice that it has not drawn yet, so what comes of it is
 * another notice, and this one does not stay for ever.
 */
function showSending({ trans }: IServices, path: string): () => void {
  let id = '';
  const timer = setTimeout(() => {
    id = Notification.emit(
      trans.__('Sending %1 to run in the background…', PathExt.basename(path)),
      'in-progress',
      { autoClose: LONGEST_NOTICE }
    );
  }, PATIENCE);
  return () => {
    clearTimeout(timer);
    if (id) {
      Notification.dismiss(id);
    }
  };
}

function tellStarted({ commands, trans }: IServices, path: string, runId: string): void {
  Notification.success(trans.__('Running %1 in the background.', PathExt.basename(path)), {
    autoClose: 5_000,
    actions: [
      {
        label: trans.__('See run'),
        callback: () => void commands.execute(CommandIDs.openRun, { run_id: runId })
      }
    ]
  });
}

function tellRefused({ commands, trans }: IServices, path: string, reason: unknown): void {
  const { message, hint, field } = problemOf(reason);
  const said = hint ? `${message} ${hint}` : message;
  const change = {
    label: trans.__('Change values…'),
    callback: () => void commands.execute(CommandIDs.schedule, { path })
  };
  Notification.error(trans.__('%1 was not started: %2', PathExt.basename(path), said), {
    autoClose: false,
    actions: /^(parameters|size$|team$)/.test(field ?? '') ? [change] : []
  });
}

/** Save, snapshot, start; the id of the run. */
async function submit(
  { client, state }: IServices,
  path: string,
  panel: NotebookPanel | null
): Promise<string> {
  if (panel?.context.model.dirty) {
    await panel.context.save();
  }
  const { values, ...place } = await remembered(state, path);
  const snapshot = await withPlatform(client, () =>
    client.call('post', '/snapshots', { body: { path } })
  );
  const run = await client.call('post', '/runs', {
    body: {
      notebook: snapshot.notebook,
      snapshot_id: snapshot.snapshot_id,
      parameters: values as RunRequest['parameters'],
      ...place,
      // where nobody has chosen one, the one for which this server was started
      team: place.team ?? snapshot.team ?? undefined,
      trigger: 'manual',
      idempotency_key: UUID.uuid4()
    }
  });
  return run.run_id;
}
