/**
 * A list that the server keeps, asked for again and again while somebody looks at it.
 */
import { VDomModel } from '@jupyterlab/ui-components';
import { Poll } from '@lumino/polling';

import type { Me } from '../../account';
import { known } from '../../account';
import { problemOf } from '../../api/client';
import type { Problem } from '../../api/types';
import type { IServices } from '../services';

/** What is known of a list. `stale` says why what is shown may be old. */
export type Listing<Page> =
  | { kind: 'loading' }
  | { kind: 'failed'; problem: Problem }
  | { kind: 'ready'; page: Page; updatedAt: number; stale: Problem | null };

/** What a person asked for that did not succeed. */
export interface IRefusal {
  readonly title: string;
  readonly problem: Problem;
}

/** In place of a team, of which none has such a name: what the person owns, in whatever team. */
export const OWN = '*';

/** How often the server is asked, in milliseconds: while something happens, and otherwise. */
const LIVELY = { interval: 5_000, max: 30_000, backoff: true };
const CALM = { interval: 60_000, max: 60_000, backoff: true };

/** How long something is expected to happen, in milliseconds, after it has been asked for. */
const HURRY = 60_000;

/** What is busy while the platform is started. */
export const STARTING = 'start';

/** How often what grows by itself, such as the duration of a run, is shown anew. */
const TICK = 1_000;

/**
 * One page of a list, kept current from `look` to `rest`, and never in a hidden window.
 */
export abstract class ListingModel<Page> extends VDomModel {
  constructor(
    name: string,
    private readonly _asking: Pick<IServices, 'client' | 'trans'>
  ) {
    super();
    this._poll = new Poll({
      name: `@element/labextension:${name}`,
      auto: false,
      frequency: LIVELY,
      standby: 'when-hidden',
      linger: 0,
      factory: () => this._ask()
    });
    this._clock = new Poll({
      name: `@element/labextension:${name}-clock`,
      auto: false,
      frequency: { interval: TICK, max: TICK, backoff: false },
      standby: 'when-hidden',
      linger: 0,
      factory: async () => this.stateChanged.emit()
    });
  }

  get state(): Listing<Page> {
    return this._state;
  }

  /** Why the last action did not succeed. */
  get refusal(): IRefusal | null {
    return this._refusal;
  }

  /** Who looks; null while that is not known. */
  get me(): Me | null {
    return this._me;
  }

  /** Whose things are listed: `OWN`, those of a team by its name, or (empty) all. */
  get whose(): string {
    return this._whose;
  }

  set whose(whose: string) {
    if (whose !== this._whose) {
      this._whose = whose;
      this.renew();
    }
  }

  /** Which of the pages this is, from 0. */
  get number(): number {
    return this._cursors.length;
  }

  /** Whether a page follows. */
  get hasFollowing(): boolean {
    return this._state.kind === 'ready' && this.cursorOf(this._state.page) !== null;
  }

  dispose(): void {
    if (this.isDisposed) {
      return;
    }
    this._poll.dispose();
    this._clock.dispose();
    super.dispose();
  }

  /** Somebody looks at the list from now on. */
  look(): void {
    if (!this._seen) {
      this._seen = true;
      void this._poll.refresh();
      this._keepTime();
    }
  }

  /** Nobody looks at it any more. */
  rest(): void {
    this._seen = false;
    void this._poll.stop();
    this._keepTime();
  }

  /** Ask now, if somebody looks; else the next look does. */
  refresh(): void {
    if (this._seen) {
      void this._poll.refresh();
    }
  }

  /** Start what runs notebooks, and ask again. */
  async start(): Promise<void> {
    const { client, trans } = this._asking;
    await this.act(STARTING, trans.__('What runs notebooks could not be started.'), () =>
      client.call('post', '/platform', {})
    );
  }

  /** Something has been asked for that will soon show: ask now, and often for a while. */
  hurry(): void {
    this._hurriesUntil = Date.now() + HURRY;
    this._poll.frequency = LIVELY;
    this.refresh();
  }

  /** Turn to the page that follows. */
  following(): void {
    const cursor = this._state.kind === 'ready' ? this.cursorOf(this._state.page) : null;
    if (cursor !== null) {
      this._turn([...this._cursors, cursor]);
    }
  }

  /** Turn to the page before. */
  preceding(): void {
    this._turn(this._cursors.slice(0, -1));
  }

  /** Whether something has been asked for and not answered: `what` is of one thing. */
  isBusy(what: string): boolean {
    return this._busy.has(what);
  }

  /** What the server says of the page after `cursor`. */
  protected abstract ask(cursor: string | undefined): Promise<Page>;

  /** Whether something on the page will soon be otherwise. */
  protected abstract isLively(page: Page): boolean;

  protected abstract cursorOf(page: Page): string | null;

  /** The part of the question that says whose things are wanted. */
  protected get whoseQuery(): { owner?: string; team?: string } {
    const { _whose: whose } = this;
    return whose === OWN ? { owner: this._me?.name } : { team: whose || undefined };
  }

  /** Another list is asked for: from its start, and with nothing to show until it is there. */
  protected renew(): void {
    this._turn([]);
  }

  /** Ask for the same list, while what is there stays. */
  protected anew(): void {
    this._cursors = [];
    this.refresh();
    this.changed();
  }

  /** Put something else into the page, such as what an action has made of a line. */
  protected mend(change: (page: Page) => Page): void {
    if (this._state.kind === 'ready') {
      this._asked += 1; // what is on its way is older than this
      this._state = { ...this._state, page: change(this._state.page) };
      this.refresh();
      this.changed();
    }
  }

  /** Do what a person asked for, once at a time; `title` says that it did not succeed. */
  protected async act<Result>(
    what: string,
    title: string,
    perform: () => Promise<Result>
  ): Promise<Result | null> {
    if (this._busy.has(what)) {
      return null; // a double click is one click
    }
    this._busy.add(what);
    this._refusal = null;
    this.changed();
    try {
      return await perform();
    } catch (reason) {
      this._refusal = { title, problem: problemOf(reason) };
      return null;
    } finally {
      this._busy.delete(what);
      this.refresh();
      this.changed();
    }
  }

  protected changed(): void {
    if (!this.isDisposed) {
      this.stateChanged.emit();
    }
  }

  private _turn(cursors: string[]): void {
    this._cursors = cursors;
    this._asked += 1;
    this._state = { kind: 'loading' };
    this.refresh();
    this.changed();
  }

  private async _ask(): Promise<void> {
    const asked = ++this._asked;
    const asks = ++this._asks;
    try {
      const [page, me] = await Promise.all([
        this.ask(this._cursors[this._cursors.length - 1]),
        known(this._asking.client, '/me').catch(() => null)
      ]);
      if (asked !== this._asked || this.isDisposed) {
        return this._askAfter(asks); // something else was asked for meanwhile
      }
      this._me = me ?? this._me;
      this._state = { kind: 'ready', page, updatedAt: Date.now(), stale: null };
      const often = this.isLively(page) || Date.now() < this._hurriesUntil;
      this._poll.frequency = often ? LIVELY : CALM;
    } catch (reason) {
      if (asked !== this._asked || this.isDisposed) {
        return this._askAfter(asks);
      }
      const problem = problemOf(reason);
      this._state =
        this._state.kind === 'ready'
          ? { ...this._state, stale: problem }
          : { kind: 'failed', problem };
      this._poll.frequency = LIVELY;
      throw reason; // the poll backs off
    } finally {
      this._keepTime();
      this.changed();
    }
  }

  /** Ask again unless that is done already: a poll that is under way is not begun anew. */
  private async _askAfter(asks: number): Promise<void> {
    if (asks === this._asks && this._seen && !this.isDisposed) {
      await this._ask();
    }
  }

  private _keepTime(): void {
    if (this.isDisposed) {
      return;
    }
    const grows = this._state.kind === 'ready' && this.isLively(this._state.page);
    void (this._seen && grows ? this._clock.start() : this._clock.stop());
  }

  private _state: Listing<Page> = { kind: 'loading' };
  private _refusal: IRefusal | null = null;
  private _me: Me | null = null;
  private _whose = '';
  private _cursors: string[] = [];
  private _seen = false;
  private _hurriesUntil = 0;
  /** Counts the questions: only the answer to the last one is taken. */
  private _asked = 0;
  private _asks = 0;
  private readonly _busy = new Set<string>();
  private readonly _poll: Poll;
  private readonly _clock: Poll;
}
