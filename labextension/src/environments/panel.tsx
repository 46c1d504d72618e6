/**
 * The panel: the environment of the notebook in front, and below it all that the server keeps.
 */
import type { TranslationBundle } from '@jupyterlab/translation';
import { VDomModel, VDomRenderer } from '@jupyterlab/ui-components';
import type { Message } from '@lumino/messaging';
import type { ISignal } from '@lumino/signaling';
import { Signal } from '@lumino/signaling';
import * as React from 'react';

import type { IElementClient } from '../tokens';
import { NotebookView } from './notebookView';
import type { OpenNotebook } from './notebook';
import { Keep } from './parts';
import { StoreModel } from './store';
import { StoreView } from './storeView';

interface IOptions {
  client: IElementClient;
  trans: TranslationBundle;
  /** The notebook in front. */
  current: () => Promise<OpenNotebook | null>;
  /** Emits when another is. */
  changed: ISignal<unknown, unknown>;
}

/** What the panel is about right now. */
class PanelModel extends VDomModel {
  readonly store: StoreModel;

  constructor(private readonly _options: IOptions) {
    super();
    this.store = new StoreModel(_options.client);
    this.store.stateChanged.connect(this._told, this);
    _options.changed.connect(this._turn, this);
    void this._turn();
  }

  get notebook(): OpenNotebook | null {
    return this._notebook?.isDisposed ? null : this._notebook;
  }

  dispose(): void {
    if (this.isDisposed) {
      return;
    }
    Signal.clearData(this);
    this.store.dispose();
    super.dispose();
  }

  private async _turn(): Promise<void> {
    const turn = ++this._turns;
    const notebook = await this._options.current();
    if (this.isDisposed || turn !== this._turns || notebook === this._notebook) {
      return;
    }
    if (this._notebook) {
      Signal.disconnectBetween(this._notebook.model, this);
    }
    this._notebook = notebook;
    notebook?.model.stateChanged.connect(this._told, this);
    notebook?.model.built.connect(this._built, this);
    this._told();
  }

  private _told(): void {
    const used = this.notebook?.model.environment?.kernel_environment_id ?? null;
    if (used !== this._used && this.store.state.kind === 'ready') {
      void this.store.refresh(); // a kernel came or went, which the list tells
    }
    this._used = used;
    this.stateChanged.emit();
  }

  private _built(): void {
    void this.store.refresh();
  }

  private _notebook: OpenNotebook | null = null;
  private _turns = 0;
  private _used: string | null = null;
}

export class EnvironmentPanel extends VDomRenderer<PanelModel> {
  constructor(private readonly _options: IOptions) {
    super(new PanelModel(_options));
    this.addClass('jp-ElementPanel');
  }

  dispose(): void {
    const { model } = this;
    super.dispose();
    model?.dispose();
  }

  protected onAfterShow(message: Message): void {
    super.onAfterShow(message);
    this._look();
  }

  protected onAfterAttach(message: Message): void {
    super.onAfterAttach(message);
    this._look();
  }

  protected render(): React.ReactElement {
    const { client, trans } = this._options;
    const { notebook, store } = this.model;
    const shared = store.state.kind === 'ready' ? store.state.list.shared : [];
    return (
      <Keep className="jp-ElementPanel-content">
        <NotebookView
          key={notebook?.panel.id}
          client={client}
          notebook={notebook}
          shared={shared}
          trans={trans}
        />
        {notebook?.model.state.kind === 'off' ? null : (
          <StoreView
            client={client}
            notebook={notebook?.model.state.kind === 'known' ? notebook : null}
            store={store}
            current={notebook?.model.environment?.environment_id ?? null}
            removed={() => void notebook?.look()}
            trans={trans}
          />
        )}
      </Keep>
    );
  }

  private _look(): void {
    if (this.isVisible) {
      void this.model.store.refresh();
      this.model.notebook?.seen();
    }
  }
}
