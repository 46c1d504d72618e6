/**
 * The Jobs panel: runs and schedules.
 */
import { VDomModel, VDomRenderer } from '@jupyterlab/ui-components';
import type { CommandRegistry } from '@lumino/commands';
import type { Message } from '@lumino/messaging';
import * as React from 'react';

import type { IServices } from '../services';
import { CommandIDs } from '../services';
import { RunsModel } from './runs';
import { RunsView } from './runsView';
import { SchedulesModel } from './schedules';
import { SchedulesView } from './schedulesView';
import { Tabs } from './tabs';

/** Which of the two lists. */
export type Tab = 'runs' | 'schedules';

/** Both lists, of which the one in front is kept current while the panel is seen. */
class JobsModel extends VDomModel {
  readonly runs: RunsModel;
  readonly schedules: SchedulesModel;

  constructor(private readonly _services: IServices) {
    super();
    this.runs = new RunsModel(_services);
    this.schedules = new SchedulesModel(_services);
    this.runs.stateChanged.connect(this._told, this);
    this.schedules.stateChanged.connect(this._told, this);
    _services.commands.commandExecuted.connect(this._asked, this);
    document.addEventListener('visibilitychange', this._shown);
  }

  get tab(): Tab {
    return this._tab;
  }

  dispose(): void {
    if (this.isDisposed) {
      return;
    }
    document.removeEventListener('visibilitychange', this._shown);
    this._services.commands.commandExecuted.disconnect(this._asked, this);
    this.runs.dispose();
    this.schedules.dispose();
    super.dispose();
  }

  turnTo(tab: Tab): void {
    if (tab !== this._tab) {
      this._tab = tab;
      this.see(this._seen);
      this.stateChanged.emit();
    }
  }

  /** Whether the panel is seen from now on. */
  see(seen: boolean): void {
    this._seen = seen;
    for (const [tab, list] of [
      ['runs', this.runs],
      ['schedules', this.schedules]
    ] as const) {
      if (seen && tab === this._tab) {
        list.look();
      } else {
        list.rest();
      }
    }
  }

  private readonly _shown = () => {
    if (!document.hidden) {
      this.runs.refresh();
      this.schedules.refresh();
    }
  };

  private _told(): void {
    this.stateChanged.emit();
  }

  /** What other parts have asked of the platform shows here at once. */
  private _asked(_: CommandRegistry, { id, result }: CommandRegistry.ICommandExecutedArgs): void {
    if (id === CommandIDs.runInBackground || id === CommandIDs.schedule) {
      const hurry = () => {
        this.runs.hurry();
        this.schedules.hurry();
      };
      void result.then(hurry, hurry);
    }
  }

  private _tab: Tab = 'runs';
  private _seen = false;
}

/** The content of the main area widget. */
export class JobsPanel extends VDomRenderer<JobsModel> {
  constructor(private readonly _services: IServices) {
    super(new JobsModel(_services));
    this.addClass('jp-ElementJobs');
  }

  /** Show one of the lists. */
  turnTo(tab: Tab): void {
    this.model.turnTo(tab);
  }

  dispose(): void {
    const { model } = this;
    super.dispose();
    model?.dispose();
  }

  protected onAfterAttach(message: Message): void {
    super.onAfterAttach(message);
    this.model?.see(this.isVisible);
  }

  protected onAfterShow(message: Message): void {
    super.onAfterShow(message);
    this.model?.see(true);
  }

  protected onAfterHide(message: Message): void {
    super.onAfterHide(message);
    this.model?.see(false);
  }

  protected onBeforeDetach(message: Message): void {
    this.model?.see(false);
    super.onBeforeDetach(message);
  }

  protected render(): React.ReactElement {
    const { trans } = this._services;
    const { runs, schedules, tab } = this.model;
    const showRuns = (job: string) => {
      runs.whose = '';
      runs.want({ job, state: null, text: '' });
      this.turnTo('runs');
    };
    return (
      <Tabs<Tab>
        label={trans.__('Jobs')}
        tabs={[
          { id: 'runs', label: trans.__('Runs') },
          { id: 'schedules', label: trans.__('Schedules') }
        ]}
        current={tab}
        onTurn={to => this.turnTo(to)}
      >
        {tab === 'runs' ? (
          <RunsView model={runs} services={this._services} />
        ) : (
          <SchedulesView model={schedules} services={this._services} onRuns={showRuns} />
        )}
      </Tabs>
    );
  }
}
