/**
 * What a schedule will do, as the service says it while it is chosen.
 */
import { VDomModel } from '@jupyterlab/ui-components';
import { Debouncer } from '@lumino/polling';

import { problemOf } from '../../api/client';
import type { components } from '../../api/schema';
import type { Problem } from '../../api/types';
import type { IElementClient } from '../../tokens';
import type { ScheduleInput } from './when';

export type Preview = components['schemas']['Preview'];

/** Something that is fetched beside the form. */
export type Fetched<T> =
  | { kind: 'none' }
  | { kind: 'loading' }
  | { kind: 'ready'; value: T }
  | { kind: 'failed'; problem: Problem };

/** It is asked for once typing has paused for as long as this, in milliseconds. */
const PAUSE = 200;

const SHOWN = 4;

/** The preview of one schedule at a time; a late answer about another is dropped. */
export class PreviewModel extends VDomModel {
  constructor(private readonly _client: IElementClient) {
    super();
  }

  get state(): Fetched<Preview> {
    return this._state;
  }

  dispose(): void {
    if (this.isDisposed) {
      return;
    }
    this._soon.dispose();
    super.dispose();
  }

  /** Show this one; null is none. */
  show(schedule: ScheduleInput | null): void {
    const asked = JSON.stringify(schedule);
    if (asked === this._asked) {
      return;
    }
    this._asked = asked;
    this._to({ kind: schedule ? 'loading' : 'none' });
    if (schedule) {
      void this._soon.invoke(schedule).catch(() => undefined);
    }
  }

  private async _ask(schedule: ScheduleInput): Promise<void> {
    const asked = JSON.stringify(schedule);
    let state: Fetched<Preview>;
    try {
      const body = { schedule, count: SHOWN };
      const value = await this._client.call('post', '/schedules/preview', { body });
      state = { kind: 'ready', value };
    } catch (reason) {
      state = { kind: 'failed', problem: problemOf(reason) };
    }
    if (asked === this._asked && !this.isDisposed) {
      this._to(state);
    }
  }

  private _to(state: Fetched<Preview>): void {
    this._state = state;
    this.stateChanged.emit();
  }

  private _state: Fetched<Preview> = { kind: 'none' };
  private _asked = 'null';
  private readonly _soon = new Debouncer((schedule: ScheduleInput) => this._ask(schedule), PAUSE);
}
