/**
 * What this server uses right now: one stream for the whole page, while the page is seen.
 */
import { VDomModel } from '@jupyterlab/ui-components';
import type { ISignal } from '@lumino/signaling';
import { Signal } from '@lumino/signaling';

import { problemOf } from '../api/client';
import type { Problem } from '../api/types';
import type { IElementClient } from '../tokens';
import type { Death, Point, Sample } from './types';

/** What is known. `late`: nothing has come for a while, though somebody looks. */
export type ResourcesState =
  | { kind: 'loading' }
  | { kind: 'failed'; problem: Problem }
  | { kind: 'ready'; sample: Sample; late: boolean };

/** After how long without a word the values are old, in milliseconds; one comes each second. */
const SILENCE = 5_000;

/** After how long without a first word that is said, in milliseconds. */
const PATIENCE = 15_000;

/** How much of the past is kept for the small charts, in milliseconds. */
const KEPT = 600_000;

export class ResourcesModel extends VDomModel {
  /**
   * @param _unheard - what to say when the server says nothing
   */
  constructor(
    private readonly _client: IElementClient,
    private readonly _unheard: string
  ) {
    super();
    document.addEventListener('visibilitychange', this._turn);
    this._turn();
  }

  get state(): ResourcesState {
    return this._state;
  }

  /** What the server has used in the last ten minutes. */
  get past(): readonly Point[] {
    return this._past;
  }

  /** Emits the death of a kernel; the same one again after each connection, for ten minutes. */
  get died(): ISignal<this, Death> {
    return this._died;
  }

  dispose(): void {
    if (this.isDisposed) {
      return;
    }
    document.removeEventListener('visibilitychange', this._turn);
    this._close();
    super.dispose();
  }

  /** Connect anew. */
  again(): void {
    this._close();
    this._state = { kind: 'loading' };
    this._turn();
    this.stateChanged.emit();
  }

  /** Listen while the page is seen, and no longer. */
  private readonly _turn = (): void => {
    if (document.hidden) {
      this._close();
    } else if (!this._listening) {
      this._listening = new AbortController();
      void this._listen(this._listening.signal);
    }
  };

  private _close(): void {
    this._listening?.abort();
    this._listening = null;
    clearTimeout(this._waiting);
  }

  private async _listen(signal: AbortSignal): Promise<void> {
    this._expect();
    try {
      const options = { signal, named: true };
      for await (const said of this._client.follow('/resources/events', options)) {
        if (signal.aborted) {
          return;
        }
        const { history, sample, death } = said as Partial<typeof said>;
        if (history) {
          this._past = history.server;
          void this._askOfDeaths();
        }
        if (death) {
          this._died.emit(death);
        }
        if (sample) {
          this._learn(sample);
        }
      }
    } catch (reason) {
      if (!signal.aborted) {
        this._close();
        this._state = { kind: 'failed', problem: problemOf(reason) };
        this.stateChanged.emit();
      }
    }
  }

  private _learn(sample: Sample): void {
    const { at, server, gpus } = sample;
    const oldest = Date.parse(at) - KEPT;
    this._past = [
      ...this._past.filter(point => Date.parse(point.at) > oldest),
      {
        at,
        cpu_cores: server.cpu_cores,
        memory_bytes: server.memory_bytes,
        gpu_memory_bytes: gpus.length
          ? gpus.reduce((sum, { memory_bytes }) => sum + memory_bytes, 0)
          : null
      }
    ];
    this._state = { kind: 'ready', sample, late: false };
    this._expect();
    this.stateChanged.emit();
  }

  /** From now on the next word is awaited. */
  private _expect(): void {
    clearTimeout(this._waiting);
    const long = this._state.kind === 'ready' ? SILENCE : PATIENCE;
    this._waiting = setTimeout(() => this._miss(), long);
  }

  private _miss(): void {
    if (this._state.kind === 'ready') {
      this._state = { ...this._state, late: true };
    } else {
      this._state = { kind: 'failed', problem: problemOf(new Error(this._unheard)) };
    }
    this.stateChanged.emit();
  }

  /** What came while nobody listened. */
  private async _askOfDeaths(): Promise<void> {
    try {
      const { items } = await this._client.call('get', '/resources/deaths');
      items.forEach(death => this._died.emit(death));
    } catch {
      // asked again at the next connection
    }
  }

  private _state: ResourcesState = { kind: 'loading' };
  private _past: readonly Point[] = [];
  private _listening: AbortController | null = null;
  private readonly _died = new Signal<this, Death>(this);
  private _waiting: ReturnType<typeof setTimeout> | undefined;
}
