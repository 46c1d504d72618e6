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

  private _state: StoreState = { kind: 'loading' };
  private _asking = false;
}
