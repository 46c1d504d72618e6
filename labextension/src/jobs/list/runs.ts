/**
 * The runs, page by page, the newest first.
 */
import { UUID } from '@lumino/coreutils';

import type { components } from '../../api/schema';
import type { Run } from '../../api/types';
import { hasEnded, isEnded } from '../../runs/events';
import { againOf } from '../../runs/past';
import { nameOf } from '../../runs/words';
import type { IServices } from '../services';
import { ListingModel } from './listing';
import { STATES, holds, reasonOf } from './words';

/** A page of runs as the server gives it. */
export type RunPage = components['schemas']['RunPage'];

/** Which runs a person wants to see. */
export interface IWanted {
  /** Words that a run must hold. */
  readonly text: string;
  readonly state: Run['state'] | null;
  /** Of which job, `team/name`. */
  readonly job: string | null;
}

const PAGE = 50;

/** A page when the server does not sort out all that is not wanted. */
const SEARCHED_PAGE = 200;

export class RunsModel extends ListingModel<RunPage> {
  constructor(private readonly _services: IServices) {
    super('runs', _services);
  }

  get wanted(): IWanted {
    return this._wanted;
  }

  /** The runs of the page that are wanted. */
  get rows(): readonly Run[] {
    if (this.state.kind !== 'ready') {
      return [];
    }
    const text = this._wanted.text.trim();
    return this.state.page.items.filter(run => !text || matches(run, text));
  }

  /** Whether runs of the page may be left out of `rows`. */
  get sorts(): boolean {
    return this._wanted.text.trim() !== '';
  }

  /** Want others; what is there already stays in sight if it may. */
  want(changes: Partial<IWanted>): void {
    const before = this._wanted;
    const sorted = this.sorts;
    this._wanted = { ...before, ...changes };
    if (this._wanted.state !== before.state || this._wanted.job !== before.job) {
      this.renew();
    } else if (this.sorts !== sorted) {
      this.anew();
    } else {
      this.changed();
    }
  }

  /** The runs that are chosen to be compared, on whichever page they are. */
  get chosen(): readonly Run[] {
    return this._chosen;
  }

  /** Choose a run, or choose it no more; null chooses none. */
  choose(run: Run | null): void {
    const others = this._chosen.filter(({ run_id }) => run_id !== run?.run_id);
    const isChosen = others.length < this._chosen.length;
    this._chosen = run === null ? [] : isChosen ? others : [...others, run];
    this.changed();
  }

  /** Stop a run. */
  async stop(run: Run): Promise<void> {
    const { client, trans } = this._services;
    const title = trans.__('%1 could not be stopped.', nameOf(run));
    const stopped = await this.act(run.run_id, title, () =>
      client.call('post', '/runs/{run_id}/stop', { path: { run_id: run.run_id } })
    );
    if (stopped) {
      this.mend(page => ({
        ...page,
        items: page.items.map(each => (each.run_id === stopped.run_id ? stopped : each))
      }));
    }
  }

  /** Run the same once more: the same notebook as it was, with the same values. */
  async again(run: Run): Promise<void> {
    const { client, trans, watched } = this._services;
    const title = trans.__('%1 could not be run again.', nameOf(run));
    const begun = await this.act(run.run_id, title, () =>
      client.call('post', '/runs', {
        body: { ...againOf(run), idempotency_key: UUID.uuid4() }
      })
    );
    if (begun) {
      watched.add(begun.run_id, nameOf(begun));
      if (this.number > 0 || this._wanted.state !== null) {
        this._wanted = { ...this._wanted, state: null };
        this.renew(); // where the new one is
      } else {
        this.mend(page => ({
          ...page,
          items: [begun, ...page.items.filter(each => each.run_id !== begun.run_id)]
        }));
      }
    }
  }

  protected async ask(cursor: string | undefined): Promise<RunPage> {
    // asked first: what ends in between is on the page then
    this._mayCome = await this._isSomethingActive();
    return this._services.client.call('get', '/runs', {
      query: {
        ...this.whoseQuery,
        job: this._wanted.job ?? undefined,
        state: this._wanted.state ?? undefined,
        cursor,
        limit: this.sorts ? SEARCHED_PAGE : PAGE
      }
    });
  }

  protected isLively(page: RunPage): boolean {
    return this._mayCome || page.items.some(run => !hasEnded(run));
  }

  protected cursorOf(page: RunPage): string | null {
    return page.next_cursor;
  }

  /** Whether runs go on that will come to the page when they end as it wants them. */
  private async _isSomethingActive(): Promise<boolean> {
    const { state, job } = this._wanted;
    if (state === null || !isEnded(state)) {
      return false;
    }
    const { client } = this._services;
    const active = STATES.filter(each => !isEnded(each)).map(each =>
      client.call('get', '/runs', {
        query: { ...this.whoseQuery, job: job ?? undefined, state: each, limit: 1 }
      })
    );
    return (await Promise.all(active)).some(({ items }) => items.length > 0);
  }

  private _mayCome = false;
  private _chosen: readonly Run[] = [];
  private _wanted: IWanted = { text: '', state: null, job: null };
}

function matches(run: Run, text: string): boolean {
  return holds(
    [nameOf(run), run.job ?? '', run.notebook, run.owner, run.run_id, reasonOf(run)],
    text
  );
}
