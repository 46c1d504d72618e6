/**
 * What goes on while the page is seen, whether the panel is open or not.
 */
import { NotebookActions } from '@jupyterlab/notebook';
import type { ISettingRegistry } from '@jupyterlab/settingregistry';
import type { IStatusBar } from '@jupyterlab/statusbar';

import { Executing } from './executing';
import { ResourcesModel } from './model';
import { Notices } from './notices';
import type { ILimits, IServices } from './services';
import { CommandIDs } from './services';
import { StatusItem } from './status';

const ID = '@element/labextension:resources';

/** The stream, the status bar and the notices of this page, and what the person has set. */
export interface ILive {
  readonly model: ResourcesModel;
  readonly executing: Executing;
  readonly notices: Notices;
  readonly limits: () => ILimits;
}

/** Begin; they last as long as the page. */
export function begin(
  services: IServices,
  statusBar: IStatusBar | null,
  registry: ISettingRegistry | null
): ILive {
  const { client, commands, trans } = services;
  let set: ILimits = { marked: 0.85, told: 0.9 };
  const limits = () => set;
  const model = new ResourcesModel(client, trans.__('The Jupyter server says nothing.'));
  const executing = new Executing(services.notebooks, NotebookActions);
  const notices = new Notices(model, executing, services, limits);
  if (statusBar) {
    const item = new StatusItem(
      model,
      limits,
      trans,
      () => void commands.execute(CommandIDs.resources)
    );
    statusBar.registerStatusItem(ID, {
      item,
      align: 'left',
      rank: 3,
      isActive: () => item.isActive,
      activeStateChanged: model.stateChanged
    });
  }
  const learn = (settings: ISettingRegistry.ISettings) => {
    const share = (name: string) => Number(settings.get(name).composite) / 100;
    const told = share('tellFromPercent');
    set = { marked: share('markFromPercent'), told: told === 0 ? Infinity : told };
    model.stateChanged.emit();
  };
  registry?.load(ID).then(
    settings => {
      learn(settings);
      settings.changed.connect(learn);
    },
    () => undefined // the defaults stay
  );
  return { model, executing, notices, limits };
}
