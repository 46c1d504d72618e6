/**
 * Two runs as they are; what goes on is followed while somebody looks.
 */
import type * as nbformat from '@jupyterlab/nbformat';
import { VDomModel } from '@jupyterlab/ui-components';
import { Throttler } from '@lumino/polling';

import { ElementProblem, problemOf } from '../../api/client';
import type { Problem, Run } from '../../api/types';
import type { IElementClient } from '../../tokens';
import type { ICell } from '../cells';
import { RunCells } from '../cells';
import { hasEnded } from '../events';
import type { IPair } from './comparison';
import { paired } from './comparison';

/** One of the two. */
export interface ISide {
  readonly run: Run;
  /** Its cells as they are now; null while none are known, or when they are gone. */
  readonly cells: readonly ICell[] | null;
}

/** What is known. */
export type State =
  | { kind: 'loading' }
  /** One of them is not there. */
  | { kind: 'missing'; problem: Problem }
  | { kind: 'failed'; problem: Problem }
  /** `stale` says why what is shown may be old. */
  | {
      kind: 'ready';
      first: ISide;
      second: ISide;
      pairs: readonly IPair[];
      stale: Problem | null;
    };

/** How often what has come of a run is shown at most, in milliseconds. */
const SHOWN_EVERY = 500;

/** Follows both runs from when it is told to ask until they have ended, or until it is to rest. */
export class ComparisonModel extends VDomModel {
  constructor(
    private readonly _client: IElementClient,
    readonly first: string,
    readonly second: string
  ) {
    super();
    this._cells = { [first]: new RunCells(), [second]: new RunCells() };
  }

  get state(): State {
    return this._state;
  }

  dispose(): void {
    this.rest();
    this._soon.dispose();
    super.dispose();
  }

  /** Nobody looks. */
  rest(): void {
    this._following?.abort();
    this._following = null;
  }

  /** Ask now, and follow what has not ended; once at a time. */
  async refresh(): Promise<void> {
    if (this._busy) {
      return;
    }
    this._busy = true;
    this.rest();
    const { signal } = (this._following = new AbortController());
    try {
      const [first, second] = await Promise.all([this._side(this.first), this._side(this.second)]);
      this._show(first, second);
      this._follow([first.run, second.run], signal);
    } catch (reason) {
      const problem = problemOf(reason);
      if (reason instanceof ElementProblem && [400, 404].includes(reason.status)) {
        this._state = { kind: 'missing', problem };
      } else if (this._state.kind === 'ready') {
        this._state = { ...this._state, stale: problem };
      } else {
        this._state = { kind: 'failed', problem };
      }
    }
    this._busy = false;
    if (!this.isDisposed) {
      this.stateChanged.emit();
    }
  }

  private _show(first: ISide, second: ISide): void {
    const pairs = first.cells && second.cells ? paired(first.cells, second.cells) : [];
    this._state = { kind: 'ready', first, second, pairs, stale: null };
  }

  private _follow(runs: Run[], signal: AbortSignal): void {
    const live = runs.filter(run => !signal.aborted && !hasEnded(run));
    new Set(live.map(run => run.run_id)).forEach(run_id => void this._hear(run_id, signal));
  }

  private async _hear(run_id: string, signal: AbortSignal): Promise<void> {
    const cells = this._cells[run_id];
    try {
      const events = this._client.follow('/runs/{run_id}/events', {
        path: { run_id },
        query: { after: cells.last },
        signal
      });
      for await (const event of events) {
        if (signal.aborted) {
          return;
        }
        cells.take(event);
        if (event.kind === 'notebook_saved' && !cells.hasDocument) {
          break;
        }
        void this._soon.invoke().catch(() => undefined);
      }
    } catch (reason) {
      if (!signal.aborted && this._state.kind === 'ready') {
        this._state = { ...this._state, stale: problemOf(reason) };
        this.stateChanged.emit();
      }
      return;
    }
    if (!signal.aborted) {
      await this.refresh();
    }
  }

  /** Show what has come. */
  private _draw(): void {
    const { _state: state } = this;
    if (state.kind === 'ready' && !this.isDisposed) {
      const now = (side: ISide) => side.cells && { ...side, cells: this._now(side.run.run_id) };
      this._show(now(state.first) ?? state.first, now(state.second) ?? state.second);
      this.stateChanged.emit();
    }
  }

  private async _side(run_id: string): Promise<ISide> {
    const run = await this._client.call('get', '/runs/{run_id}', { path: { run_id } });
    const cells = this._cells[run_id];
    if (run.output_path === null) {
      return { run, cells: null };
    }
    if (hasEnded(run) ? !cells.isFinal : !cells.hasDocument) {
      try {
        const document: unknown = await this._client.call('get', '/runs/{run_id}/notebook', {
          path: { run_id }
        });
        cells.settle(document as nbformat.INotebookContent, hasEnded(run));
      } catch (reason) {
        if (reason instanceof ElementProblem && reason.status === 404) {
          return { run, cells: null }; // it is not kept for ever
        }
        throw reason;
      }
    }
    return { run, cells: this._now(run_id) };
  }

  private _now(run_id: string): readonly ICell[] {
    return [...this._cells[run_id].cells];
  }

  private _state: State = { kind: 'loading' };
  private _busy = false;
  private _following: AbortController | null = null;
  private readonly _cells: Record<string, RunCells>;
  private readonly _soon = new Throttler(() => this._draw(), SHOWN_EVERY);
}
