/**
 * The view of one run.
 */
import { URLExt } from '@jupyterlab/coreutils';
import { VDomRenderer } from '@jupyterlab/ui-components';
import type { Message } from '@lumino/messaging';
import { Panel } from '@lumino/widgets';
import type * as React from 'react';

import type { IServices } from '../jobs/services';
import { CommandIDs } from '../jobs/services';
import { RunDocument } from './document';
import { Front } from './front';
import type { IActions } from './head';
import { RunModel } from './model';
import { comparable } from './past';
import { nameOf, stateWord } from './words';

/** The content of the main area widget; it sets its own title once it knows the run. */
export class RunView extends Panel {
  constructor(
    private readonly _services: IServices,
    runId: string
  ) {
    super();
    const { client, rendermime, trans } = _services;
    this.addClass('jp-ElementRun');
    this.node.tabIndex = -1;
    this._model = new RunModel(client, runId, trans);
    this._document = new RunDocument({
      cells: this._model.cells,
      rendermime,
      trans,
      viewport: this.node
    });
    this.addWidget(new RunFront(this._model, this._actions(), this._address(runId), _services));
    this.addWidget(this._document);
    this._model.stateChanged.connect(this._entitle, this);
    this._model.cellsChanged.connect((_, changed) => this._document.refresh(changed), this);
    document.addEventListener('visibilitychange', this);
  }

  /** The window is shown or hidden. */
  handleEvent(): void {
    this._look();
  }

  dispose(): void {
    if (this.isDisposed) {
      return;
    }
    document.removeEventListener('visibilitychange', this);
    super.dispose();
    this._model.dispose();
  }

  protected onAfterShow(message: Message): void {
    super.onAfterShow(message);
    this._look();
  }

  protected onAfterHide(message: Message): void {
    super.onAfterHide(message);
    this._look();
  }

  protected onAfterAttach(message: Message): void {
    super.onAfterAttach(message);
    this._look();
  }

  protected onActivateRequest(message: Message): void {
    super.onActivateRequest(message);
    this.node.focus();
  }

  private _look(): void {
    this._model.look(this.isVisible && !document.hidden);
  }

  private _entitle(): void {
    const { run } = this._model;
    if (run) {
      const { trans } = this._services;
      const name = nameOf(run);
      const state = stateWord(run.state, trans);
      this.title.label = name;
      this.title.caption = trans.__('Run of %1: %2', name, state);
    }
  }

  private _actions(): IActions {
    const { commands } = this._services;
    const model = this._model;
    return {
      openOutput: cell =>
        void model.act('open', async () => {
          const { openOutput } = await import('./copies');
          const document = await model.notebook();
          if (model.run) {
            await openOutput(this._services, model.run, document, cell);
          }
        }),
      openToDebug: () =>
        void model.act('debug', async () => {
          const { openToDebug } = await import('./copies');
          const document = await model.notebook();
          if (model.run) {
            await openToDebug(this._services, model.run, document);
          }
        }),
      again: () =>
        void model.again().then(runId => {
          if (runId !== null) {
            return commands.execute(CommandIDs.openRun, { run_id: runId });
          }
        }),
      reveal: cell => this._document.reveal(cell),
      openJobs: () => void commands.execute(CommandIDs.openJobs, { tab: 'runs' }),
      openRun: runId => void commands.execute(CommandIDs.openRun, { run_id: runId }),
      compareWith: other => {
        if (model.run) {
          void commands.execute(CommandIDs.compareRuns, comparable(model.run, other));
        }
      }
    };
  }

  /** Where the files of the run are. */
  private _address(runId: string): string {
    const { serverSettings } = this._services.contents;
    return URLExt.join(serverSettings.baseUrl, 'element/api/v1/runs', runId, 'artifacts');
  }

  private readonly _model: RunModel;
  private readonly _document: RunDocument;
}

/** What stands above the notebook. */
class RunFront extends VDomRenderer<RunModel> {
  constructor(
    model: RunModel,
    private readonly _do: IActions,
    private readonly _address: string,
    private readonly _services: IServices
  ) {
    super(model);
    this.addClass('jp-ElementRun-front');
  }

  protected render(): React.ReactElement {
    const { trans } = this._services;
    return Front({ model: this.model, actions: this._do, address: this._address, trans });
  }
}
