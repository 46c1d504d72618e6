/**
 * The panel: this server, its kernels, and what runs in the background.
 */
import { UseSignal, VDomRenderer } from '@jupyterlab/ui-components';
import type { Message } from '@lumino/messaging';
import * as React from 'react';

import { Keep, Trouble, Waiting } from '../environments/parts';
import { KernelsView } from './kernelsView';
import type { ILive } from './live';
import type { ResourcesModel } from './model';
import { QuotaView } from './quotaView';
import { RunningModel } from './running';
import { RunsView } from './runsView';
import { ServerView } from './serverView';
import type { IServices } from './services';

export class ResourcesPanel extends VDomRenderer<ResourcesModel> {
  constructor(
    private readonly _live: ILive,
    private readonly _services: IServices
  ) {
    super(_live.model);
    this.addClass('jp-ElementPanel');
    this._running = new RunningModel(_services.client, _services.trans);
  }

  dispose(): void {
    this._running.dispose();
    super.dispose();
  }

  protected onAfterShow(message: Message): void {
    super.onAfterShow(message);
    this._look();
  }

  protected onAfterAttach(message: Message): void {
    super.onAfterAttach(message);
    this._look();
  }

  protected onAfterHide(message: Message): void {
    super.onAfterHide(message);
    this._running.rest();
  }

  protected onUpdateRequest(message: Message): void {
    // what nobody sees is not drawn each second
    if (this.isVisible) {
      super.onUpdateRequest(message);
    }
  }

  protected render(): React.ReactElement {
    const { trans, commands } = this._services;
    return (
      <Keep className="jp-ElementPanel-content">
        <Section title={trans.__('This server')}>{this._server()}</Section>
        {this.model.state.kind === 'ready' ? (
          <Section title={trans.__('Notebooks and kernels')}>
            <KernelsView sample={this.model.state.sample} services={this._services} />
          </Section>
        ) : null}
        <Section title={trans.__('Background runs')}>
          <UseSignal signal={this._running.stateChanged}>
            {() => <RunsView model={this._running} commands={commands} trans={trans} />}
          </UseSignal>
        </Section>
        <QuotaView key={this._looks} client={this._services.client} trans={trans} />
      </Keep>
    );
  }

  private _server(): React.ReactElement {
    const { trans, client } = this._services;
    const { model } = this;
    switch (model.state.kind) {
      case 'loading':
        return <Waiting text={trans.__('Looking at what is used…')} />;
      case 'failed':
        return (
          <Trouble
            title={trans.__('What this server uses is not known.')}
            problem={model.state.problem}
            again={() => model.again()}
            trans={trans}
          />
        );
      case 'ready':
        return (
          <>
            {model.state.late ? <p role="status">{trans.__('Reconnecting…')}</p> : null}
            <div className={model.state.late ? 'jp-ElementLate' : undefined}>
              <ServerView
                live={this._live}
                sample={model.state.sample}
                client={client}
                trans={trans}
              />
            </div>
          </>
        );
    }
  }

  private _look(): void {
    if (this.isVisible) {
      this._looks += 1;
      this._running.look();
      this.update();
    }
  }

  private readonly _running: RunningModel;
  private _looks = 0;
}

/** A part of the panel that can be folded away. */
function Section({
  title,
  children
}: {
  title: string;
  children: React.ReactNode;
}): React.ReactElement {
  return (
    <details open className="jp-ElementSection">
      <summary>
        <h2>{title}</h2>
      </summary>
      {children}
    </details>
  );
}
