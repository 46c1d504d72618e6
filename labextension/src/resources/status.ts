/**
 * The resources of the server in one line of the status bar.
 */
import type { TranslationBundle } from '@jupyterlab/translation';
import type { Message } from '@lumino/messaging';
import { Widget } from '@lumino/widgets';

import type { ResourcesModel } from './model';
import type { ILimits } from './services';
import { isClose, memoryShare, summary } from './words';

export class StatusItem extends Widget {
  constructor(
    private readonly _model: ResourcesModel,
    private readonly _limits: () => ILimits,
    private readonly _trans: TranslationBundle,
    open: () => void
  ) {
    super();
    this.addClass('jp-ElementStatus');
    this._button.type = 'button';
    this._button.addEventListener('click', open);
    this._sign.setAttribute('aria-hidden', 'true');
    this._button.append(this._sign, this._text);
    this.node.append(this._button);
    _model.stateChanged.connect(this.update, this);
    this.update();
  }

  dispose(): void {
    this._model.stateChanged.disconnect(this.update, this);
    super.dispose();
  }

  /** Whether there is something to show. */
  get isActive(): boolean {
    return this._model.state.kind === 'ready';
  }

  protected onUpdateRequest(message: Message): void {
    super.onUpdateRequest(message);
    const { state } = this._model;
    if (state.kind !== 'ready') {
      return;
    }
    const trans = this._trans;
    const said = summary(state.sample, trans);
    const close = isClose(memoryShare(state.sample), this._limits().marked);
    this._sign.textContent = close ? '⚠\u00a0' : '';
    this._text.textContent = close ? trans.__('Memory nearly full: %1', said) : said;
    this._button.title = state.late
      ? trans.__('Reconnecting…')
      : trans.__('What this server and its kernels use. Click for more.');
    this._button.classList.toggle('jp-mod-late', state.late);
  }

  private readonly _button = document.createElement('button');
  private readonly _sign = document.createElement('span');
  private readonly _text = document.createElement('span');
}
