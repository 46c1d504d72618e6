/**
 * A dialog that stays open until the server has taken what it submits.
 */
import { Dialog, ReactWidget } from '@jupyterlab/apputils';
import type { TranslationBundle } from '@jupyterlab/translation';
import type { Message } from '@lumino/messaging';
import * as React from 'react';

import type { ScheduleModel } from './model';
import type { Accepted } from './sending';
import { submitLabel, titleOf } from './words';
import { ScheduleView } from './view';

const SUBMIT = 1;

/** Elements that Enter is for; elsewhere it submits. */
const TAKES_ENTER = 'button, summary, select, textarea, a[href]';

const FOCUSABLE = 'button, summary, input, select, textarea, a[href], pre[tabindex]';

/** Shows a model, which it disposes of, and submits it; whatever goes wrong, it stays open. */
export class ScheduleDialog extends Dialog<void> {
  constructor(
    private readonly _model: ScheduleModel,
    private readonly _trans: TranslationBundle,
    private readonly _accepted: (accepted: Accepted) => void
  ) {
    super({
      title: titleOf(_model, _trans),
      body: ReactWidget.create(React.createElement(ScheduleView, { model: _model, trans: _trans })),
      buttons: [
        Dialog.cancelButton({ label: _trans.__('Cancel') }),
        Dialog.okButton({ label: submitLabel(_model, _trans) })
      ],
      defaultButton: SUBMIT,
      focusNodeSelector: 'input:checked'
    });
    this.addClass('jp-ElementSchedule');
    this.node.setAttribute('aria-label', titleOf(_model, _trans));
    _model.stateChanged.connect(this._show, this);
    this._show();
  }

  dispose(): void {
    if (this.isDisposed) {
      return;
    }
    this._model.stateChanged.disconnect(this._show, this);
    super.dispose();
    this._model.dispose();
  }

  /** Submit, and close once that has succeeded; or close. */
  resolve(index = SUBMIT): void {
    if (index !== SUBMIT) {
      this._model.leave();
      super.resolve(index);
      return;
    }
    void this._submit();
  }

  reject(): void {
    this._model.leave();
    super.reject();
  }

  protected onAfterAttach(message: Message): void {
    super.onAfterAttach(message);
    this._show();
  }

  protected _evtKeydown(event: KeyboardEvent): void {
    const target = event.target instanceof Element ? event.target : null;
    const inBody = target?.closest('.jp-Dialog-body') ?? null;
    if (event.key === 'Tab') {
      this._keepFocus(event);
    } else if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      event.stopPropagation();
      this.resolve(SUBMIT);
    } else if (event.isComposing || (inBody && /^Arrow/.test(event.key))) {
      return;
    } else if (event.key !== 'Enter' || !inBody || !target?.matches(TAKES_ENTER)) {
      super._evtKeydown(event);
    }
  }

  /** A click beside the dialog does not throw away what is typed. */
  protected _evtClick(event: MouseEvent): void {
    const content = this.node.querySelector('.jp-Dialog-content');
    if (event.target instanceof Node && content?.contains(event.target)) {
      super._evtClick(event);
    }
  }

  /** The model knows what is wrong; the button stays, so that it can say so. */
  protected _checkValidation(): void {
    return;
  }

  private async _submit(): Promise<void> {
    const accepted = await this._model.submit();
    if (accepted) {
      this._accepted(accepted);
      super.resolve(SUBMIT);
    }
  }

  /** Tab stays in the dialog, whatever is in it by now. */
  private _keepFocus(event: KeyboardEvent): void {
    const all = [...this.node.querySelectorAll<HTMLElement>(FOCUSABLE)].filter(
      each => each.offsetParent !== null && !each.matches(':disabled, [tabindex="-1"]')
    );
    const [from, to] = event.shiftKey
      ? [all[0], all[all.length - 1]]
      : [all[all.length - 1], all[0]];
    if (document.activeElement === from) {
      event.preventDefault();
      event.stopPropagation();
      to.focus();
    }
  }

  private _show(): void {
    const button = this.node.querySelectorAll('.jp-Dialog-footer button')[SUBMIT];
    const label = button?.querySelector('.jp-Dialog-buttonLabel');
    if (!label) {
      return;
    }
    const { state, obstacle } = this._model;
    label.removeAttribute('aria-label'); // the text is the name
    label.textContent = submitLabel(this._model, this._trans);
    button.setAttribute('aria-busy', String(state.kind === 'submitting'));
    button.setAttribute(
      'aria-disabled',
      String(state.kind === 'submitting' || state.kind === 'loading' || obstacle !== null)
    );
    button.setAttribute('title', obstacle ?? '');
  }
}
