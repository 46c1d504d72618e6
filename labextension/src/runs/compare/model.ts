/**
 * Two runs as they were when they were last asked for.
 */
import type * as nbformat from '@jupyterlab/nbformat';
import { VDomModel } from '@jupyterlab/ui-components';

import { ElementProblem, problemOf } from '../../api/client';
import type { Problem, Run } from '../../api/types';
import type { IElementClient } from '../../tokens';
import type { ICell } from '../cells';
import { RunCells } from '../cells';
import type { IPair } from './comparison';
import { paired } from './comparison';

/** One of the two. */
export interface ISide {
  readonly run: Run;
  /** Its cells as they were last written; null while nothing is, or when it is gone. */
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

/** Asks for both runs when it is told to, and never by itself. */
export class ComparisonModel extends VDomModel {
  constructor(
    private readonly _client: IElementClient,
    readonly first: string,
    readonly second: string
  ) {
    super();
  }

  get state(): State {
    return this._state;
  }

  get busy(): boolean {
    return this._busy;
  }

  /** Ask now; once at a time. */
  async refresh(): Promise<void> {
    if (this._busy) {
      return;
    }
    this._busy = true;
    this.stateChanged.emit();
    try {
      const [first, second] = await Promise.all([this._side(this.first), this._side(this.second)]);
      const pairs = first.cells && second.cells ? paired(first.cells, second.cells) : [];
      this._state = { kind: 'ready', first, second, pairs, stale: null };
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

  private async _side(run_id: string): Promise<ISide> {
    const run = await this._client.call('get', '/runs/{run_id}', { path: { run_id } });
    return { run, cells: run.output_path === null ? null : await this._cells(run_id) };
  }

  private async _cells(run_id: string): Promise<readonly ICell[] | null> {
    const cells = new RunCells();
    try {
      const document: unknown = await this._client.call('get', '/runs/{run_id}/notebook', {
        path: { run_id }
      });
      cells.settle(document as nbformat.INotebookContent, true);
    } catch (reason) {
      if (reason instanceof ElementProblem && reason.status === 404) {
        return null; // it is not kept for ever
      }
      throw reason;
    }
    return cells.cells;
  }

  private _state: State = { kind: 'loading' };
  private _busy = false;
}
