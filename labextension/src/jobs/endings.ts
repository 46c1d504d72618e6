/**
 * Tells a person how the runs ended that were waited for.
 */
import { Notification } from '@jupyterlab/apputils';
import type { IDisposable } from '@lumino/disposable';
import { Poll } from '@lumino/polling';

import { ElementProblem } from '../api/client';
import type { Run } from '../api/types';
import { Claims } from '../claims';
import { hasEnded } from '../runs/events';
import { nameOf } from '../runs/words';
import { reasonOf } from './list/words';
import type { IServices } from './services';
import { CommandIDs } from './services';
import type { IWatchedRun } from './watched';

/** Of which ends to tell. */
export type NotifyOnFinish = 'all' | 'started' | 'failures' | 'none';

/** How often to look, in milliseconds: often at first, seldom at what takes long. */
const SOONEST = 2_000;
const LATEST = 15_000;
const MAX = 60_000;

/** Of so many that ended meanwhile, each is told by itself. */
const MOST = 3;

/** Look at the runs until none is waited for; tell of each that has ended. */
export class Endings implements IDisposable {
  /**
   * @param wanted - asks the settings of which ends to tell
   */
  constructor(
    private readonly _services: IServices,
    private readonly _wanted: () => Promise<NotifyOnFinish>
  ) {
    this._claims = new Claims(_services.watched.place);
    this._poll = new Poll({
      name: '@element/labextension:endings',
      auto: false,
      frequency: { interval: SOONEST, max: MAX, backoff: true },
      standby: 'when-hidden',
      linger: 0,
      factory: () => this._look()
    });
  }

  get isDisposed(): boolean {
    return this._poll.isDisposed;
  }

  dispose(): void {
    this._poll.dispose();
  }

  /** Begin to look, if that is not so already. */
  watch(): void {
    this._poll.frequency = { interval: SOONEST, max: MAX, backoff: true };
    void this._poll.refresh();
  }

  private async _look(): Promise<void> {
    const all = this._services.watched.all;
    if (all.length === 0) {
      void this._poll.stop();
      return;
    }
    const youngest = Math.max(...all.map(({ since }) => since));
    const interval = Math.max(SOONEST, Math.min(LATEST, (Date.now() - youngest) / 20));
    this._poll.frequency = { interval, max: MAX, backoff: true };
    await Promise.all(all.map(run => this._lookAt(run)));
  }

  private async _lookAt({ runId, name }: IWatchedRun): Promise<void> {
    const { client, watched } = this._services;
    let run: Run;
    try {
      run = await client.call('get', '/runs/{run_id}', { path: { run_id: runId } });
    } catch (reason) {
      if (reason instanceof ElementProblem && reason.status === 404) {
        watched.take(runId); // another platform's, or nobody's any more
        return;
      }
      throw reason; // the poll backs off
    }
    if (hasEnded(run) && watched.take(runId)) {
      await this.tell([run], name);
    }
  }

  /**
   * Tell of runs that have ended, the latest first, each in one window of the browser.
   *
   * @param name - what to call the only one; else each is called after its job or its notebook
   */
  async tell(runs: readonly Run[], name?: string): Promise<void> {
    const wanted = await this._wanted();
    const { commands, trans, watched } = this._services;
    const told = runs.filter(({ run_id, state }) => {
      const isFromHere = watched.take(run_id) || name !== undefined;
      const isWanted =
        state === 'succeeded'
          ? wanted === 'all' || (wanted === 'started' && isFromHere)
          : wanted !== 'none';
      return isWanted && this._claims.take(run_id);
    });
    for (const run of told.slice(0, MOST)) {
      this._tell(run, name ?? nameOf(run));
    }
    const more = told.length - MOST;
    if (more > 0) {
      Notification.info(
        trans._n('%1 more run of yours has ended.', '%1 more runs of yours have ended.', more),
        {
          autoClose: false,
          actions: [
            {
              label: trans.__('See runs'),
              callback: () => void commands.execute(CommandIDs.openJobs, { tab: 'runs' })
            }
          ]
        }
      );
    }
  }

  private _tell(run: Run, name: string): void {
    const { commands, trans } = this._services;
    const options = {
      autoClose: false as const,
      actions: [
        {
          label: trans.__('See run'),
          callback: () => void commands.execute(CommandIDs.openRun, { run_id: run.run_id })
        }
      ]
    };
    switch (run.state) {
      case 'succeeded':
        Notification.success(trans.__('%1 has run.', name), { ...options, autoClose: 5_000 });
        break;
      case 'stopped':
        Notification.warning(trans.__('%1 was stopped. %2', name, reasonOf(run)), options);
        break;
      case 'lost':
        Notification.error(trans.__('%1 was lost. %2', name, reasonOf(run)), options);
        break;
      default:
        Notification.error(trans.__('%1 failed. %2', name, reasonOf(run)), options);
    }
  }

  private readonly _claims: Claims;
  private readonly _poll: Poll;
}
