/**
 * What somebody may use for a team, and whether something of a size fits into it now.
 */
import type { components } from './api/schema';
import type { IElementClient } from './tokens';

export type Quota = components['schemas']['ShownQuota'];

/** From which share of a limit on it is said that little is left. */
const NEAR = 0.8;

/** The limits of which little is left, in words. */
export function scarce({ limits }: Quota): string[] {
  return limits
    .filter(({ used, limit }) => used !== null && used >= NEAR * limit)
    .map(({ sentence }) => sentence);
}

/** The answer for one team and size at a time; a late one about another is dropped. */
export class QuotaModel {
  /**
   * @param _changed - called when there is another answer
   */
  constructor(
    private readonly _client: IElementClient,
    private readonly _changed: () => void
  ) {}

  /** Null while it is not known, and where nothing counts. */
  get value(): Quota | null {
    return this._value;
  }

  /** Ask, if something else is meant than the last time. */
  async ask(team: string | undefined, size: string | undefined): Promise<void> {
    const asked = JSON.stringify([team, size]);
    if (asked === this._asked) {
      return;
    }
    this._asked = asked;
    let value: Quota | null = null;
    try {
      const said = await this._client.call('get', '/quota', { query: { team, size } });
      value = said.limits.length ? said : null;
    } catch {
      // who starts it is told anyway; what is not known now is no reason to keep anybody from it
    }
    if (asked === this._asked) {
      this._value = value;
      this._changed();
    }
  }

  private _value: Quota | null = null;
  private _asked = '';
}
