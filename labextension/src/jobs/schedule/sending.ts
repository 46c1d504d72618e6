/**
 * The steps of a submission: the notebook is saved and copied, then a run or a job is made of it.
 */
import { Dialog } from '@jupyterlab/apputils';
import type { NotebookPanel } from '@jupyterlab/notebook';
import { PromiseDelegate } from '@lumino/coreutils';

import { ElementProblem } from '../../api/client';
import type { components } from '../../api/schema';
import type { ISnapshot } from '../../api/types';
import { withPlatform } from '../platform';
import type { IServices } from '../services';
import type { JobInput, RunRequest } from './form';
import { remember } from './remembered';

type Schemas = components['schemas'];

/** What a submission made. */
export type Accepted =
  | { kind: 'run'; runId: string; path: string }
  | { kind: 'job'; stored: Schemas['StoredJob']; next: Schemas['Fire'] | null };

/** There is another job of that name, or another version of it: `job` may replace that. */
export interface IExists {
  kind: 'exists';
  job: JobInput;
  stored: Schemas['StoredJob'];
  /** What it would be then; nothing of it is kept yet. */
  replaced: Schemas['StoredJob'];
}

/** How a submission ends when nothing went wrong. */
export type Sent = Accepted | IExists;

/** The submission is over, because the person has left the dialog. */
export class Left extends Error {}

/** JupyterLab wants to ask something, for which this dialog must be closed. */
export class Interrupted extends ElementProblem {}

/** Sends what a dialog submits. */
export class Sending {
  constructor(private readonly _services: IServices) {}

  /** What has not been sent yet is not sent. */
  leave(): void {
    this._left = true;
  }

  /**
   * Save what is unsaved, and copy the notebook's project.
   *
   * @param starts - whether what runs notebooks is started where no platform is
   */
  async copy(path: string, panel: NotebookPanel | null, starts: boolean): Promise<ISnapshot> {
    const { client } = this._services;
    if (panel?.context.model.dirty) {
      await this._saveNotebook(panel);
    }
    this._goOn();
    const take = () => client.call('post', '/snapshots', { body: { path } });
    return starts ? withPlatform(client, take) : take();
  }

  async run(body: RunRequest, path: string): Promise<Sent> {
    const { client, state } = this._services;
    this._goOn();
    const { run_id } = await client.call('post', '/runs', { body });
    await remember(state, path, body);
    return { kind: 'run', runId: run_id, path };
  }

  /**
   * Save a job over a version of it; 0 is none.
   *
   * @param path - where its notebook lies, if that is known
   */
  async save(job: JobInput, version: number, path: string | null): Promise<Sent> {
    const { client, state } = this._services;
    const place = { team: job.team, name: job.name };
    this._goOn();
    try {
      const { stored } = await client.call('put', '/jobs/{team}/{name}', {
        path: place,
        header: { 'If-Match': `"${version}"` },
        body: job
      });
      if (path !== null) {
        await remember(state, path, { ...job, parameters: job.tasks[0].parameters });
      }
      return { kind: 'job', stored, next: await this._nextFire(job) };
    } catch (reason) {
      if (!(reason instanceof ElementProblem) || reason.status !== 409) {
        throw reason;
      }
    }
    const stored = await client.call('get', '/jobs/{team}/{name}', { path: place });
    const { stored: replaced } = await client.call('put', '/jobs/{team}/{name}', {
      path: place,
      query: { dry_run: true },
      body: job
    });
    return { kind: 'exists', job, stored, replaced };
  }

  /** Save the notebook; JupyterLab's own dialogs, such as on a conflict, wait for this one. */
  private async _saveNotebook({ context }: NotebookPanel): Promise<void> {
    const { trans } = this._services;
    const asks = new PromiseDelegate<never>();
    const interrupted = () =>
      asks.reject(
        new Interrupted(0, {
          code: 'interrupted',
          message: trans.__('JupyterLab asks something before it saves the notebook.'),
          hint: trans.__('Cancel here to answer it; what is typed is there when you come back.'),
          field: null,
          details: ''
        })
      );
    Dialog.tracker.widgetAdded.connect(interrupted);
    try {
      await Promise.race([context.save(), asks.promise]);
    } finally {
      Dialog.tracker.widgetAdded.disconnect(interrupted);
    }
  }

  private async _nextFire({ schedule, paused }: JobInput): Promise<Schemas['Fire'] | null> {
    if (!schedule || paused) {
      return null;
    }
    try {
      const body = { schedule, count: 1 };
      const { fires } = await this._services.client.call('post', '/schedules/preview', { body });
      return fires[0] ?? null;
    } catch {
      return null; // it is saved; only when it is next cannot be said
    }
  }

  private _goOn(): void {
    if (this._left) {
      throw new Left();
    }
  }

  private _left = false;
}
