import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ILayoutRestorer } from '@jupyterlab/application';
import { ICommandPalette } from '@jupyterlab/apputils';
import { INotebookTracker } from '@jupyterlab/notebook';
import { ISettingRegistry } from '@jupyterlab/settingregistry';
import { IStatusBar } from '@jupyterlab/statusbar';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';

import { resourcesIcon } from '../icons';
import { Sidebar } from '../sidebar';
import { IElementClient } from '../tokens';
import type { ILive } from './live';
import { calm } from './calm';
import type { IServices } from './services';
import { CommandIDs } from './services';

/** When the code is asked for again that could not be fetched, in milliseconds. */
const RETRY = 10_000;

/**
 * Resources: what this server and its kernels use right now, and how near the limits are.
 */
export const resourcesPlugin: JupyterFrontEndPlugin<void> = {
  id: '@element/labextension:resources',
  description: 'Shows what this server and its kernels use, and tells why a kernel died.',
  autoStart: true,
  requires: [IElementClient, INotebookTracker],
  optional: [IStatusBar, ISettingRegistry, ICommandPalette, ILayoutRestorer, ITranslator],
  activate: (
    app: JupyterFrontEnd,
    client: IElementClient,
    notebooks: INotebookTracker,
    statusBar: IStatusBar | null,
    registry: ISettingRegistry | null,
    palette: ICommandPalette | null,
    restorer: ILayoutRestorer | null,
    translator: ITranslator | null
  ): void => {
    const trans = (translator ?? nullTranslator).load('element');
    const { commands, serviceManager: manager } = app;
    const services: IServices = { client, commands, notebooks, manager, trans };

    let live: Promise<ILive> | null = null;
    const begun = () =>
      (live ??= import('./live').then(({ begin }) => begin(services, statusBar, registry)));
    const beginSoon = () =>
      begun().catch(() => {
        live = null; // the server could not be reached
        setTimeout(() => void beginSoon(), RETRY);
      });
    void app.restored.then(calm).then(beginSoon);

    const sidebar = new Sidebar({
      id: 'element-resources',
      name: trans.__('Resources'),
      icon: resourcesIcon,
      trans,
      load: async () => {
        const { ResourcesPanel } = await import('./panel');
        return new ResourcesPanel(await begun(), services);
      }
    });
    app.shell.add(sidebar, 'right', { rank: 511, type: 'Resources' });
    restorer?.add(sidebar, sidebar.id);

    commands.addCommand(CommandIDs.resources, {
      label: trans.__('Resources'),
      caption: trans.__('Show what this server and its kernels use'),
      icon: args => (args.isPalette ? undefined : resourcesIcon),
      describedBy: { args: { type: 'object', properties: {} } },
      execute: () => app.shell.activateById(sidebar.id)
    });
    palette?.addItem({
      command: CommandIDs.resources,
      category: trans.__('Kernel Operations'),
      args: { isPalette: true }
    });
  }
};
