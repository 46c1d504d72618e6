/**
 * One run as it is known here: its record, its events, and what went before it.
 */
import type * as nbformat from '@jupyterlab/nbformat';
import type { TranslationBundle } from '@jupyterlab/translation';
import { VDomModel } from '@jupyterlab/ui-components';
import { Poll } from '@lumino/polling';
import type { ISignal } from '@lumino/signaling';
import { Signal } from '@lumino/signaling';

import type { Me } from '../account';
import { isAtLeast, known } from '../account';
import { ElementProblem } from '../api/client';
import type { Problem, Run } from '../api/types';
import { problemOf } from '../environments/model';
import type { IElementClient } from '../tokens';
import type { Changed } from './cells';
import { RunCells } from './cells';
import type { RunEvent } from './events';
import { hasEnded } from './events';
import type { IPast } from './past';
import { againOf, othersOf, pastOf } from './past';
import { RunLog } from './log';
import { RunUsage } from './resources';

/** What is known. */
export type State =
  | { kind: 'loading' }
  /** There is no such run. */
  | { kind: 'missing'; problem: Problem }
  | { kind: 'unknown'; problem: Problem }
  /** `stale` says why what is shown may be old. */
  | { kind: 'known'; run: Run; stale: Problem | null };

/** What a person has asked for, while it is under way. */
export type Action = 'stop' | 'again' | 'open' | 'debug';

/** How often the record is asked for until the run has ended, in milliseconds. */
export const LOOK = { interval: 5_000, max: 15_000, backoff: true };

/**
 * Follows the run while somebody looks, and makes of its events cells and a log.
 */
export class RunModel extends VDomModel {
  readonly cells = new RunCells();
  readonly log: RunLog;
  readonly usage = new RunUsage();

  constructor(
    private readonly _client: IElementClient,
    readonly runId: string,
    private readonly _trans: TranslationBundle
  ) {
    super();
    this.log = new RunLog(_trans);
    this._look = new Poll({
      name: `@element/labextension:run-view:${runId}`,
      auto: false,
      frequency: LOOK,
      standby: 'when-hidden',
      factory: () => this._ask()
    });
    this._clock = new Poll({
      name: `@element/labextension:run-clock:${runId}`,
      auto: false,
      frequency: { interval: 1_000, backoff: false },
      standby: 'when-hidden',
      factory: async () => this._ticked.emit()
    });
  }

  get state(): State {
    return this._state;
  }

  /** The record; null until it is known. */
  get run(): Run | null {
    return this._state.kind === 'known' ? this._state.run : null;
  }

  /** Whether the person may stop it, or run it again. */
  get mayRun(): boolean {
    return isAtLeast('member', this._me, this.run?.team ?? '');
  }

  get busy(): Action | null {
    return this._busy;
  }

  /** Why the last action did not succeed. */
  get refusal(): { action: Action; problem: Problem } | null {
    return this._refusal;
  }

  /** When the server was last asked with success, in milliseconds since 1970. */
  get updatedAt(): number {
    return this._updatedAt;
  }

  /** What went before; null until it is known. */
  get past(): IPast | null {
    return this._past;
  }

  /** Emits every second while the run goes on and somebody looks. */
  get ticked(): ISignal<this, void> {
    return this._ticked;
  }

  /** Emits what of the cells has changed, once a frame at most. */
  get cellsChanged(): ISignal<this, Changed> {
    return this._cellsChanged;
  }

  /** Somebody looks, or nobody does any more: only then are there requests. */
  look(looking: boolean): void {
    if (looking === this._looking || this.isDisposed) {
      return;
    }
    this._looking = looking;
    if (!looking) {
      this._following?.abort();
      this._following = null;
      void this._look.stop();
      void this._clock.stop();
    } else if (!this._isOver) {
      void this._look.start();
      void this._look.refresh();
      void this._clock.start();
    }
  }

  dispose(): void {
    if (this.isDisposed) {
      return;
    }
    this._following?.abort();
    this._look.dispose();
    this._clock.dispose();
    cancelAnimationFrame(this._frame);
    Signal.clearData(this);
    super.dispose();
  }

  /** Ask for the record now. */
  async refresh(): Promise<void> {
    await this._look.refresh();
    await this._look.tick.catch(() => undefined);
  }

  async stop(): Promise<void> {
    await this.act('stop', async () => {
      const run = await this._client.call('post', '/runs/{run_id}/stop', { path: this._path });
      this._learn(run);
    });
  }

  /** Start the same again: the same files, parameters and limits. The id of the new run. */
  async again(): Promise<string | null> {
    let started: string | null = null;
    await this.act('again', async () => {
      if (this.run) {
        const run = await this._client.call('post', '/runs', { body: againOf(this.run) });
        started = run.run_id;
      }
    });
    return started;
  }

  /** Those that it may be compared with. */
  async others(): Promise<Run[]> {
    return this.run ? othersOf(this._client, this.run) : [];
  }

  /** The executed notebook, as it was last written. */
  async notebook(): Promise<nbformat.INotebookContent> {
    const found: unknown = await this._client.call('get', '/runs/{run_id}/notebook', {
      path: this._path
    });
    if (!isNotebook(found)) {
      throw new Error(this._trans.__('The executed notebook could not be read.'));
    }
    return found;
  }

  /** Do something that takes a moment; one thing at a time. */
  async act(action: Action, perform: () => Promise<void>): Promise<void> {
    if (this._busy !== null) {
      return; // a double click is one click
    }
    this._busy = action;
    this._refusal = null;
    this.stateChanged.emit();
    try {
      await perform();
    } catch (reason) {
      this._refusal = { action, problem: problemOf(reason) };
    } finally {
      this._busy = null;
      this._tell();
    }
  }

  private get _path() {
    return { run_id: this.runId };
  }

  /** Whether nothing will change any more, and all is here. */
  private get _isOver(): boolean {
    return this._state.kind === 'missing' || this._complete;
  }

  private async _ask(): Promise<void> {
    let run: Run;
    try {
      [run, this._me] = await Promise.all([
        this._client.call('get', '/runs/{run_id}', { path: this._path }),
        known(this._client, '/me').catch(() => this._me)
      ]);
    } catch (reason) {
      this._failed(reason);
      throw reason; // the poll backs off
    }
    if (this.isDisposed) {
      return;
    }
    const wasAway = this._state.kind === 'known' && this._state.stale !== null;
    this._learn(run);
    if (!this._past) {
      void this._recall(run);
    }
    if (wasAway) {
      // the stream waits longer and longer before it tries again; the server is there now
      this._following?.abort();
      this._following = null;
    }
    await this._read(run);
    this._follow();
  }

  private _failed(reason: unknown): void {
    const problem = problemOf(reason);
    if (reason instanceof ElementProblem && [400, 404].includes(reason.status)) {
      this._state = { kind: 'missing', problem };
      void this._look.stop();
      void this._clock.stop();
    } else if (this._state.kind === 'known') {
      this._state = { ...this._state, stale: problem };
    } else {
      this._state = { kind: 'unknown', problem };
    }
    this._tell();
  }

  private _learn(run: Run): void {
    this._updatedAt = Date.now();
    this._state = { kind: 'known', run, stale: null };
    if (hasEnded(run)) {
      void this._clock.stop();
    }
    this._tell();
  }

  /** Get the notebook when there is one that says more than what is known. */
  private async _read(run: Run): Promise<void> {
    const ended = hasEnded(run);
    if (run.output_path === null || this.cells.isFinal || (this.cells.hasDocument && !ended)) {
      return;
    }
    if (ended && this._readAtEnd) {
      return;
    }
    try {
      const document = await this.notebook();
      if (this.isDisposed) {
        return;
      }
      this._readAtEnd = ended;
      this.cells.settle(document, ended && isOfEnd(document, run));
      this._change();
    } catch (reason) {
      if (reason instanceof ElementProblem && reason.status === 404) {
        this._readAtEnd = ended; // it is gone: what was told is all there is
      }
    }
  }

  private _follow(): void {
    if (this._following || this._streamed || !this._looking || this.isDisposed) {
      this._endIfAllIsHere();
      return;
    }
    const following = (this._following = new AbortController());
    void this._hear(following.signal).then(ended => {
      if (this._following !== following) {
        return;
      }
      this._following = null;
      if (ended) {
        this._streamed = true;
        this._endIfAllIsHere();
        if (!this.isDisposed && !this._isOver) {
          void this._look.refresh();
        }
      }
    });
  }

  /** Whether the stream came to its end. */
  private async _hear(signal: AbortSignal): Promise<boolean> {
    const events = this._client.follow('/runs/{run_id}/events', {
      path: this._path,
      query: { after: this.cells.last },
      signal
    });
    try {
      for await (const event of events) {
        if (signal.aborted) {
          return false;
        }
        this._take(event);
      }
      return !signal.aborted;
    } catch {
      return false; // the record says what is wrong, when it is asked for
    }
  }

  private _take(event: RunEvent): void {
    if (!this.cells.take(event)) {
      return;
    }
    this.log.take(event);
    this.usage.take(event);
    const { run } = this;
    const turns = ['state_changed', 'run_started', 'notebook_saved', 'run_finished'];
    if (run && !hasEnded(run) && turns.includes(event.kind)) {
      this._askSoon = true;
    }
    this._change();
  }

  /** Tell what has changed in the next frame, together with what comes until then. */
  private _change(): void {
    if (this._frame || this.isDisposed) {
      return;
    }
    this._frame = requestAnimationFrame(() => {
      this._frame = 0;
      this._cellsChanged.emit(this.cells.changes());
      this.stateChanged.emit();
      if (this._askSoon) {
        this._askSoon = false;
        void this._look.refresh();
      }
    });
  }

  private _endIfAllIsHere(): void {
    const { run } = this;
    if (run && hasEnded(run) && this._streamed && (this._readAtEnd || run.output_path === null)) {
      this._complete = true;
      void this._look.stop();
    }
  }

  private async _recall(run: Run): Promise<void> {
    try {
      this._past = await pastOf(this._client, run);
      this._tell();
    } catch {
      // the next look tries again
    }
  }

  private _tell(): void {
    if (!this.isDisposed) {
      this.stateChanged.emit();
    }
  }

  private _state: State = { kind: 'loading' };
  private _me: Me | null = null;
  private _busy: Action | null = null;
  private _refusal: { action: Action; problem: Problem } | null = null;
  private _past: IPast | null = null;
  private _updatedAt = 0;
  private _looking = false;
  private _following: AbortController | null = null;
  /** Whether the stream has come to its end. */
  private _streamed = false;
  private _readAtEnd = false;
  private _complete = false;
  private _askSoon = false;
  private _frame = 0;
  private readonly _look: Poll;
  private readonly _clock: Poll;
  private readonly _ticked = new Signal<this, void>(this);
  private readonly _cellsChanged = new Signal<this, Changed>(this);
}

function isNotebook(found: unknown): found is nbformat.INotebookContent {
  const { cells, metadata } = (found ?? {}) as Partial<nbformat.INotebookContent>;
  return Array.isArray(cells) && typeof metadata === 'object';
}

/** Whether a run wrote this when it ended; one that is lost has not. */
function isOfEnd(document: nbformat.INotebookContent, run: Run): boolean {
  const ours = (document.metadata.element ?? {}) as { run_id?: unknown; state?: unknown };
  return ours.run_id === run.run_id && typeof ours.state === 'string';
}
