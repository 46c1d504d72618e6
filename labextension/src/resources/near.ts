/**
 * When memory is nearly full, and when a person is told of it.
 */

/** How far the share has to fall below where it began until it may begin again. */
const SLACK = 0.05;

/**
 * Episodes of being near a limit: one begins when the share comes to `from`, and ends when it is
 * well below, so that what goes up and down around it is one and not many.
 */
export class NearLimit {
  /**
   * Learn the share of the limit that is used (0–1, null without a limit).
   *
   * @returns whether an episode begins with this, or ends; null when neither
   */
  learn(share: number | null, from: number): 'begins' | 'ends' | null {
    const goesOn = share !== null && share >= (this._goesOn ? from - SLACK : from);
    if (goesOn === this._goesOn) {
      return null;
    }
    this._goesOn = goesOn;
    return goesOn ? 'begins' : 'ends';
  }

  private _goesOn = false;
}
