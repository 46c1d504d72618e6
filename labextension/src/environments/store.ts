/**
 * The environments that the server keeps, for everyone who works on it.
 */
import { VDomModel } from '@jupyterlab/ui-components';

import { problemOf } from '../api/client';
import type { EnvironmentList, Problem } from '../api/types';
import type { IElementClient } from '../tokens';

/** What is known of them. */
export type StoreState =
  | { kind: 'loading' }
  | { kind: 'failed'; problem: Problem }
  | { kind: 'ready'; list: EnvironmentList; updatedAt: number; stale: Problem | null };

export class StoreModel extends VDomModel {
  constructor(private readonly _client: IElementClient) {
    super();
  }

  get state(): StoreState {
    return this._state;
  }

  /** The environment that an action is about, while it is under way. */
  get busy(): string | null {
    return this._busy;
  }

  /** Why the last action did not succeed, and for which environment. */
  get refusal(): { id: string; problem: Problem } | null {
    return this._refusal;
  }

  /** Take an environment away; the server refuses while something uses it. */
  async remove(id: string): Promise<void> {
    await this._act(id, async () => {
      await this._client.call('delete', '/environments/{environment_id}', {
        path: { environment_id: id }
      });
      await this.refresh();
    });
  }

  /** What an environment was made from; null when that could not be had. */
  async lockOf(id: string): Promise<string | null> {
    let lock: string | null = null;
    await this._act(id, async () => {
      const { text } = await this._client.call('get', '/environments/{environment_id}/lock', {
        path: { environment_id: id }
      });
      lock = text;
    });
    return lock;
  }

  /** Ask the server. */
  async refresh(): Promise<void> {
    if (this._asking) {
      return;
    }
    this._asking = true;
    try {
      const list = await this._client.call('get', '/environments');
      this._state = { kind: 'ready', list, updatedAt: Date.now(), stale: null };
    } catch (reason) {
      const problem = problemOf(reason);
      this._state =
        this._state.kind === 'ready'
          ? { ...this._state, stale: problem }
          : { kind: 'failed', problem };
    } finally {
      this._asking = false;
      if (!this.isDisposed) {
        this.stateChanged.emit();
      }
    }
  }

  private async _act(id: string, perform: () => Promise<void>): Promise<void> {
    if (this._busy !== null) {
      return; // a double click is one click
    }
    this._busy = id;
    this._refusal = null;
    this.stateChanged.emit();
    try {
      await perform();
    } catch (reason) {
      this._refusal = { id, problem: problemOf(reason) };
    } finally {
      this._busy = null;
      if (!this.isDisposed) {
        this.stateChanged.emit();
      }
    }
  }

  private _state: StoreState = { kind: 'loading' };
  private _busy: string | null = null;
  private _refusal: { id: string; problem: Problem } | null = null;
  private _asking = false;
}
