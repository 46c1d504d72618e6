/**
 * Tells a person what cannot wait until they look: memory that runs out, and kernels that died.
 */
import { Dialog, Notification, showDialog } from '@jupyterlab/apputils';
import type { IDisposable } from '@lumino/disposable';
import { Signal } from '@lumino/signaling';

import { Claims } from '../claims';
import type { Executing } from './executing';
import type { ResourcesModel } from './model';
import { NearLimit } from './near';
import type { ILimits, IServices } from './services';
import { CommandIDs } from './services';
import type { Death } from './types';
import { memoryShare, obituary, warning } from './words';

const MEMORY = 'memory';

/** How long the window that has the notebook goes first, in milliseconds. */
const PRECEDENCE = 1_500;

export class Notices implements IDisposable {
  constructor(
    private readonly _model: ResourcesModel,
    private readonly _executing: Executing,
    private readonly _services: IServices,
    private readonly _limits: () => ILimits
  ) {
    this._claims = new Claims(_services.manager.serverSettings.baseUrl);
    _model.stateChanged.connect(this._look, this);
    _model.died.connect(this._died, this);
  }

  get isDisposed(): boolean {
    return this._isDisposed;
  }

  dispose(): void {
    this._isDisposed = true;
    Signal.clearData(this);
  }

  private _look(): void {
    const { state } = this._model;
    if (state.kind !== 'ready' || state.late) {
      return;
    }
    const turn = this._memory.learn(memoryShare(state.sample), this._limits().told);
    if (turn === 'begins' && this._claims.take(MEMORY)) {
      const { commands, trans } = this._services;
      this._tell(warning(state.sample, trans), 'warning', trans.__('Show'), () => {
        void commands.execute(CommandIDs.resources);
      });
    } else if (turn === 'ends') {
      this._claims.giveBack(MEMORY);
    }
  }

  private _died(_: ResourcesModel, death: Death): void {
    // asked now: the front end forgets the cell when the kernel starts anew
    const cell = this._executing.cellOf(death.kernel_id);
    const tell = () => {
      if (this._claims.take(`${death.kernel_id} ${death.at}`)) {
        const known = cell ?? this._executing.cellOf(death.kernel_id);
        const { trans } = this._services;
        this._tell(obituary(death, known, trans), 'error', trans.__('Details'), () => {
          void showDialog({
            title: death.notebook ?? trans.__('A kernel has ended'),
            body: death.sentence,
            buttons: [Dialog.okButton({ label: trans.__('Close') })]
          });
        });
      }
    };
    if (this._executing.panelOf(death.kernel_id)) {
      tell();
    } else {
      setTimeout(tell, PRECEDENCE);
    }
  }

  private _tell(
    said: string,
    type: 'warning' | 'error',
    label: string,
    callback: () => void
  ): void {
    Notification.emit(said, type, { autoClose: false, actions: [{ label, callback }] });
  }

  private readonly _claims: Claims;
  private _isDisposed = false;
  private readonly _memory = new NearLimit();
}
