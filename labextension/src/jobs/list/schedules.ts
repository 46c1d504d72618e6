/**
 * The jobs, page by page: when they fire, how their last runs went, and what may be done to them.
 */
import { ElementProblem } from '../../api/client';
import type { components } from '../../api/schema';
import { isEnded } from '../../runs/events';
import type { IServices } from '../services';
import type { IDrift } from './drift';
import { driftOf, keepNotebook } from './drift';
import { ListingModel } from './listing';
import type { Schedule, StoredJob } from './words';
import { idOf, titleOf } from './words';

/** A page of jobs as the server gives it. */
export type JobPage = components['schemas']['JobPage'];

/** A job in the list. */
export type JobEntry = components['schemas']['JobEntry'];

/** What a job was started as. */
export type Triggered = components['schemas']['Triggered'];

const PAGE = 50;

/** How long before a fire the list is looked at often, in milliseconds. */
const SOON = 60_000;

export class SchedulesModel extends ListingModel<JobPage> {
  constructor(private readonly _services: IServices) {
    super('schedules', _services);
  }

  /** Words that a job must hold. */
  get text(): string {
    return this._text;
  }

  set text(text: string) {
    if (text !== this._text) {
      this._text = text;
      this.anew();
    }
  }

  /** A schedule in words; null while they are not known, or for a schedule that is over. */
  wordsFor(schedule: Schedule): string | null {
    return this._words.get(JSON.stringify(schedule)) ?? null;
  }

  /** What the notebook of a job has become since it was scheduled; null when that is the same. */
  driftOf(stored: StoredJob): IDrift | null {
    return this._drifts.get(idOf(stored)) ?? null;
  }

  /** Have a job run its notebook as it is now. */
  async update(stored: StoredJob, { path }: IDrift): Promise<void> {
    const { client, trans } = this._services;
    const title = trans.__('%1 could not be updated.', titleOf(stored));
    const saved = await this.act(idOf(stored), title, async () => {
      const { snapshot_id, notebook } = await client.call('post', '/snapshots', { body: { path } });
      const [task] = stored.job.tasks;
      return client.call('put', '/jobs/{team}/{name}', {
        path: placeOf(stored),
        header: { 'If-Match': `"${stored.version}"` },
        body: { ...stored.job, snapshot_id, tasks: [{ ...task, notebook }] }
      });
    });
    if (saved) {
      this._settle(stored);
      this._replace(saved.stored);
    }
  }

  /** Let a job go on with the notebook that it has. */
  keep(stored: StoredJob, drift: IDrift): void {
    keepNotebook(stored, drift);
    this._settle(stored);
    this.changed();
  }

  look(): void {
    this._compared.clear(); // notebooks change while nobody looks
    super.look();
  }

  /** Let a job fire no more, or again. */
  async setPaused(stored: StoredJob, paused: boolean): Promise<void> {
    const { client, trans } = this._services;
    const title = paused
      ? trans.__('%1 could not be paused.', titleOf(stored))
      : trans.__('%1 could not be resumed.', titleOf(stored));
    const saved = await this.act(idOf(stored), title, () =>
      client.call('post', paused ? '/jobs/{team}/{name}/pause' : '/jobs/{team}/{name}/resume', {
        path: placeOf(stored)
      })
    );
    if (saved) {
      this._replace(saved);
    }
  }

  /** Make somebody a job's owner; one who takes what was handed to them lets it fire. */
  async handOver(stored: StoredJob, owner: string): Promise<void> {
    const { client, trans } = this._services;
    const title = trans.__('%1 could not be handed over.', titleOf(stored));
    const path = placeOf(stored);
    const saved = await this.act(idOf(stored), title, () =>
      owner === stored.job.owner
        ? client.call('post', '/jobs/{team}/{name}/resume', { path })
        : client.call('post', '/jobs/{team}/{name}/owner', { path, body: { owner } })
    );
    if (saved) {
      this._replace(saved);
    }
  }

  /** Start a job now, as it is; null when that did not succeed. */
  async trigger(stored: StoredJob): Promise<Triggered | null> {
    const { client, trans, watched } = this._services;
    const title = trans.__('%1 could not be started.', titleOf(stored));
    const started = await this.act(idOf(stored), title, () =>
      client.call('post', '/jobs/{team}/{name}/trigger', { path: placeOf(stored), body: {} })
    );
    if (started?.run_id) {
      watched.add(started.run_id, titleOf(stored));
    }
    this.hurry(); // Airflow takes a moment
    return started;
  }

  /** Remove a job; whether that succeeded. */
  async remove(stored: StoredJob): Promise<boolean> {
    const { client, trans } = this._services;
    const title = trans.__('%1 could not be deleted.', titleOf(stored));
    const removed = await this.act(idOf(stored), title, async () => {
      await client.call('delete', '/jobs/{team}/{name}', { path: placeOf(stored) });
      return true;
    });
    if (removed) {
      this.mend(page => ({
        ...page,
        items: page.items.filter(entry => idOf(entry.stored) !== idOf(stored))
      }));
    }
    return removed !== null;
  }

  protected async ask(cursor: string | undefined): Promise<JobPage> {
    const page = await this._services.client.call('get', '/jobs', {
      query: { ...this.whoseQuery, text: this._text.trim() || undefined, cursor, limit: PAGE }
    });
    void this._learnWords(page);
    void this._compare(page);
    return page;
  }

  protected isLively(page: JobPage): boolean {
    const soon = Date.now() + SOON;
    return page.items.some(
      ({ last_runs, next_fire }) =>
        last_runs.some(state => !isEnded(state)) ||
        (next_fire !== null && Date.parse(next_fire.at) < soon)
    );
  }

  protected cursorOf(page: JobPage): string | null {
    return page.next_cursor;
  }

  private _replace(saved: StoredJob): void {
    this.mend(page => ({
      ...page,
      items: page.items.map(entry =>
        idOf(entry.stored) === idOf(saved)
          ? {
              ...entry,
              stored: saved,
              next_fire: saved.job.paused || saved.held ? null : entry.next_fire
            }
          : entry
      )
    }));
  }

  /** Compare the notebooks of the jobs that have not been compared since somebody looks. */
  private async _compare(page: JobPage): Promise<void> {
    for (const { stored } of page.items) {
      const key = `${idOf(stored)} ${stored.version}`;
      if (!this._compared.has(key)) {
        this._compared.add(key);
        const settled = this._settled.get(idOf(stored));
        const drift = await driftOf(stored, this._services);
        if (this._settled.get(idOf(stored)) !== settled) {
          continue; // the person has decided meanwhile
        }
        if (drift) {
          this._drifts.set(idOf(stored), drift);
        } else {
          this._drifts.delete(idOf(stored));
        }
        this.changed();
      }
    }
  }

  /** What is known of a job's notebook is over, and what is being found out about it too. */
  private _settle(stored: StoredJob): void {
    this._drifts.delete(idOf(stored));
    this._settled.set(idOf(stored), (this._settled.get(idOf(stored)) ?? 0) + 1);
  }

  /** Ask for the words of the schedules that have not been seen before, one after another. */
  private async _learnWords(page: JobPage): Promise<void> {
    for (const { stored } of page.items) {
      const { schedule } = stored.job;
      const key = JSON.stringify(schedule);
      if (schedule === null || this._words.has(key)) {
        continue;
      }
      this._words.set(key, null);
      try {
        const { sentence } = await this._services.client.call('post', '/schedules/preview', {
          body: { schedule, count: 1 }
        });
        this._words.set(key, sentence);
      } catch (reason) {
        // a schedule that is over is refused, and shown as it was written
        if (!(reason instanceof ElementProblem && reason.status === 400)) {
          this._words.delete(key);
        }
      }
      this.changed();
    }
  }

  private readonly _drifts = new Map<string, IDrift>();
  private readonly _compared = new Set<string>();
  private readonly _settled = new Map<string, number>();
  private _text = '';
  private readonly _words = new Map<string, string | null>();
}

function placeOf({ job }: StoredJob): { team: string; name: string } {
  return { team: job.team, name: job.name };
}
