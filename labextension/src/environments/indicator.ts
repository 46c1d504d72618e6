/**
 * The environment of a notebook in its toolbar: a name and a word, and more in the tooltip.
 */
import type { TranslationBundle } from '@jupyterlab/translation';
import type { Message } from '@lumino/messaging';
import { Throttler } from '@lumino/polling';
import { Widget } from '@lumino/widgets';

import type { EnvironmentModel } from './model';
import { detailsOf, nameOf, wordFor } from './words';

/** Progress is read out at most this often, in milliseconds. */
const READ_OUT = 5_000;

export class Indicator extends Widget {
  constructor(
    private readonly _model: EnvironmentModel,
    private readonly _trans: TranslationBundle,
    open: () => void
  ) {
    super();
    this._button.type = 'button';
    this._button.className = 'jp-ElementIndicator-button';
    this._button.addEventListener('click', open);
    this._name.className = 'jp-ElementIndicator-name';
    this._word.className = 'jp-ElementIndicator-word';
    const mark = document.createElement('span');
    mark.className = 'jp-ElementMark';
    mark.setAttribute('aria-hidden', 'true');
    this._button.append(mark, this._name, this._word);
    this._live.className = 'jp-ElementUnseen';
    this._live.setAttribute('aria-live', 'polite');
    this.node.append(this._button, this._live);
    _model.stateChanged.connect(this._changed, this);
  }

  dispose(): void {
    if (this.isDisposed) {
      return;
    }
    this._model.stateChanged.disconnect(this._changed, this);
    this._readOut.dispose();
    super.dispose();
  }

  protected onAfterAttach(message: Message): void {
    super.onAfterAttach(message);
    this._changed();
  }

  protected onUpdateRequest(message: Message): void {
    super.onUpdateRequest(message);
    const trans = this._trans;
    const { environment, standing, state, build } = this._model;
    let word: string;
    let shown: string;
    let more: string[];
    if (environment && standing) {
      word = wordFor(standing, build?.running ? build.last : null, trans);
      shown = standing === 'ready' ? trans.__('✓ ready') : word;
      more = detailsOf(environment, trans);
    } else if (state.kind === 'unknown') {
      shown = word = trans.__('not known');
      more = [state.problem.message, state.problem.hint];
    } else {
      return;
    }
    this.node.dataset.standing = standing ?? 'unknown';
    this._name.textContent = nameOf(environment?.definition ?? null, trans);
    this._word.textContent = shown;
    this._button.title = more.filter(Boolean).join('\n');
    if (standing !== this._read) {
      this._read = standing;
      this._say(word);
    } else if (standing === 'building') {
      void this._readOut.invoke(word).catch(() => undefined);
    }
  }

  private _changed(): void {
    const { kind } = this._model.state;
    // the place is kept while it loads, so that the toolbar measures it as it will be
    this.parent?.setHidden(kind === 'off' || kind === 'foreign');
    this._button.hidden = kind !== 'known' && kind !== 'unknown';
    this.update();
  }

  private _say(word: string): void {
    this._live.textContent = this._trans.__('Environment %1: %2', this._name.textContent, word);
  }

  private readonly _button = document.createElement('button');
  private readonly _name = document.createElement('span');
  private readonly _word = document.createElement('span');
  private readonly _live = document.createElement('span');
  private _read: string | null = null;
  private readonly _readOut = new Throttler((word: string) => this._say(word), {
    limit: READ_OUT,
    edge: 'trailing'
  });
}
