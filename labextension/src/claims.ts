/**
 * Which of the windows of a browser tells a person something, so that one does and not each.
 */

/** How long a claim is good for, in milliseconds, if nobody gives it back. */
const GOOD_FOR = 3_600_000;

export class Claims {
  /**
   * @param place - what no other server's claims share, such as its address
   */
  constructor(place: string) {
    this._prefix = `element:told:${place}:`;
  }

  /** Whether this is the window that has to tell; no other one has, and none will. */
  take(what: string): boolean {
    this._forget();
    const key = this._prefix + what;
    if (this._kept.getItem(key) !== null) {
      return false;
    }
    try {
      this._kept.setItem(key, String(Date.now()));
    } catch {
      // the browser keeps nothing more: better told twice than not at all
    }
    return true;
  }

  /** It may be told again. */
  giveBack(what: string): void {
    this._kept.removeItem(this._prefix + what);
  }

  private _forget(): void {
    const old = Date.now() - GOOD_FOR;
    Object.keys(this._kept)
      .filter(key => key.startsWith(this._prefix) && Number(this._kept.getItem(key)) < old)
      .forEach(key => this._kept.removeItem(key));
  }

  private readonly _prefix: string;
  private readonly _kept = window.localStorage;
}
