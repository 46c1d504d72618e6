/**
 * What a person is told while they work: which of their runs have ended, whoever started them, and
 * the notices of the platform.
 */
import { Notification } from '@jupyterlab/apputils';
import type { IDisposable } from '@lumino/disposable';
import { Poll } from '@lumino/polling';

import { problemOf } from '../api/client';
import type { components } from '../api/schema';
import type { Endings } from './endings';
import type { IServices } from './services';

type Notice = components['schemas']['Notice'];

/** How often to ask while the page is seen, and at the longest when nothing answers. */
const INTERVAL = 60_000;
const MAX = 600_000;

const MINUTE = 60_000;

/** Asks once a minute, and not while the page is hidden; nothing is missed by that. */
export class News implements IDisposable {
  constructor(
    private readonly _services: IServices,
    private readonly _endings: Endings
  ) {
    this._since = `element:news:${_services.watched.place}`;
    this._poll = new Poll({
      name: '@element/labextension:news',
      frequency: { interval: INTERVAL, max: MAX, backoff: true },
      standby: 'when-hidden',
      linger: 0,
      factory: () => this._ask()
    });
  }

  get isDisposed(): boolean {
    return this._poll.isDisposed;
  }

  dispose(): void {
    this._poll.dispose();
  }

  private async _ask(): Promise<void> {
    const since = window.localStorage.getItem(this._since) ?? undefined;
    const { at, notices, ended } = await this._services.client.call('get', '/news', {
      query: { since }
    });
    try {
      window.localStorage.setItem(this._since, at);
    } catch {
      // the browser keeps nothing more: then the next answer tells of no end
    }
    await this._endings.tell(ended);
    this._show(notices);
  }

  /** Each notice is shown until it is not so any more, or until the person has closed it. */
  private _show(notices: readonly Notice[]): void {
    const now = new Set(notices.map(({ id }) => id));
    for (const [id, shown] of this._shown) {
      if (!now.has(id)) {
        Notification.dismiss(shown);
        this._shown.delete(id);
      }
    }
    for (const notice of notices) {
      if (!this._shown.has(notice.id)) {
        this._shown.set(notice.id, this._emit(notice));
      }
    }
  }

  private _emit({ id, sentence, hint, keep_until_allowed }: Notice): string {
    const { trans } = this._services;
    const minutes = Math.round((Date.parse(keep_until_allowed ?? '') - Date.now()) / MINUTE);
    const label =
      minutes % 60 ? trans.__('Keep for %1 min', minutes) : trans.__('Keep for %1 h', minutes / 60);
    return Notification.warning([sentence, hint].filter(Boolean).join(' '), {
      autoClose: false,
      actions: keep_until_allowed
        ? [{ label, displayType: 'accent', callback: () => void this._keep(id) }]
        : []
    });
  }

  private async _keep(id: string): Promise<void> {
    const { client, trans } = this._services;
    try {
      const { kept_until } = await client.call('post', '/notices/{notice_id}/keep', {
        path: { notice_id: id }
      });
      const time = new Date(kept_until ?? '').toLocaleTimeString([], { timeStyle: 'short' });
      Notification.success(trans.__('Kept until %1.', time), { autoClose: 5_000 });
    } catch (reason) {
      const { message, hint } = problemOf(reason);
      Notification.error([message, hint].filter(Boolean).join(' '), { autoClose: false });
    }
  }

  private readonly _poll: Poll;
  private readonly _since: string;
  /** The notification of each notice. */
  private readonly _shown = new Map<string, string>();
}
