/**
 * The runs whose end a person will be told of, however often the page is loaded until then.
 */
import type { ISignal } from '@lumino/signaling';
import { Signal } from '@lumino/signaling';

/** A run that is waited for, and what to call it. */
export interface IWatchedRun {
  readonly runId: string;
  readonly name: string;
  /** When it began to be waited for, in milliseconds since 1970. */
  readonly since: number;
}

/**
 * Kept in the browser, an entry for each run: windows add and take away without a look at what the
 * others do, and whichever is there when a run ends tells of it.
 */
export class WatchedRuns {
  /**
   * @param place - what no other person's or server's entries share, such as the server's address
   */
  constructor(readonly place: string) {
    this._prefix = `element:watched-run:${place}:`;
    window.addEventListener('storage', event => {
      if (event.newValue !== null && event.key?.startsWith(this._prefix)) {
        this._added.emit();
      }
    });
  }

  /** Emits when there is another one, added in this window or in another. */
  get added(): ISignal<this, void> {
    return this._added;
  }

  /** Those that are waited for. */
  get all(): IWatchedRun[] {
    return Object.keys(this._kept)
      .filter(key => key.startsWith(this._prefix))
      .map(key => {
        const [since, name] = split(this._kept.getItem(key) ?? '');
        return { runId: key.slice(this._prefix.length), name, since: Number(since) || 0 };
      });
  }

  /** Wait for a run. */
  add(runId: string, name: string): void {
    try {
      this._kept.setItem(this._prefix + runId, `${Date.now()} ${name}`);
    } catch {
      return; // the browser keeps nothing, or nothing more
    }
    this._added.emit();
  }

  /** Wait no more; whether this is the window that has to tell. */
  take(runId: string): boolean {
    const key = this._prefix + runId;
    const mine = this._kept.getItem(key) !== null;
    this._kept.removeItem(key);
    return mine;
  }

  private readonly _prefix: string;
  private readonly _kept = window.localStorage;
  private readonly _added = new Signal<this, void>(this);
}

function split(entry: string): [string, string] {
  const space = entry.indexOf(' ');
  return [entry.slice(0, space), entry.slice(space + 1)];
}
