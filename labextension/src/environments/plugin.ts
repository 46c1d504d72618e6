import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ILayoutRestorer } from '@jupyterlab/application';
import {
  ICommandPalette,
  ISessionContextDialogs,
  IToolbarWidgetRegistry,
  SessionContextDialogs
} from '@jupyterlab/apputils';
import type { NotebookPanel } from '@jupyterlab/notebook';
import { INotebookTracker } from '@jupyterlab/notebook';
import { IRenderMimeRegistry } from '@jupyterlab/rendermime';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';
import { Panel, type Widget } from '@lumino/widgets';

import { environmentIcon } from '../icons';
import { Sidebar } from '../sidebar';
import { IElementClient } from '../tokens';
import type { OpenNotebook } from './notebook';
import { restartRenderer } from './restart';

namespace CommandIDs {
  export const environment = 'element:environment';
}

/**
 * Environments: what packages the notebook in front of you has, and why.
 */
export const environmentsPlugin: JupyterFrontEndPlugin<void> = {
  id: '@element/labextension:environments',
  description: 'Shows the environment of each notebook, and how it is made.',
  autoStart: true,
  requires: [IElementClient, INotebookTracker],
  optional: [
    ISessionContextDialogs,
    IToolbarWidgetRegistry,
    IRenderMimeRegistry,
    ICommandPalette,
    ILayoutRestorer,
    ITranslator
  ],
  activate: (
    app: JupyterFrontEnd,
    client: IElementClient,
    notebooks: INotebookTracker,
    sessionDialogs: ISessionContextDialogs | null,
    toolbars: IToolbarWidgetRegistry | null,
    rendermime: IRenderMimeRegistry | null,
    palette: ICommandPalette | null,
    restorer: ILayoutRestorer | null,
    translator: ITranslator | null
  ): void => {
    const trans = (translator ?? nullTranslator).load('element');
    const services = {
      client,
      contents: app.serviceManager.contents,
      dialogs: sessionDialogs ?? new SessionContextDialogs({ translator: translator ?? undefined }),
      edit: (path: string) =>
        void app.commands.execute('docmanager:open', { path, factory: 'Editor' }),
      trans
    };

    const opened = new Map<NotebookPanel, Promise<OpenNotebook>>();
    const open = (panel: NotebookPanel): Promise<OpenNotebook> => {
      let notebook = opened.get(panel);
      if (!notebook) {
        notebook = import('./notebook').then(
          ({ OpenNotebook }) => new OpenNotebook(panel, services)
        );
        opened.set(panel, notebook);
        panel.disposed.connect(() => opened.delete(panel));
      }
      return notebook;
    };
    const current = async (): Promise<OpenNotebook | null> => {
      const panel = notebooks.currentWidget;
      return panel && !panel.isDisposed ? open(panel) : null;
    };
    const look = async () => (await current())?.seen();
    const show = () => void app.commands.execute(CommandIDs.environment);

    notebooks.widgetAdded.connect((_, panel) => void open(panel));
    notebooks.currentChanged.connect(() => void look());
    window.addEventListener('focus', () => void look());

    toolbars?.addFactory<NotebookPanel>('Notebook', 'element-environment', panel => {
      const place = new Panel();
      place.addClass('jp-ElementIndicator');
      void open(panel).then(async ({ model }) => {
        const { Indicator } = await import('./indicator');
        if (!place.isDisposed) {
          place.addWidget(new Indicator(model, trans, show));
        }
      });
      return place;
    });

    const around = async ({ node }: Widget): Promise<OpenNotebook | null> => {
      const panel = notebooks.find(each => each.node.contains(node));
      return panel ? open(panel) : null;
    };
    rendermime?.addFactory(
      restartRenderer(trans, {
        look: async offer => (await around(offer))?.look(),
        restart: async offer => (await around(offer))?.restart()
      })
    );

    const sidebar = new Sidebar({
      id: 'element-environment',
      name: trans.__('Environment'),
      icon: environmentIcon,
      trans,
      load: async () => {
        const { EnvironmentPanel } = await import('./panel');
        return new EnvironmentPanel({ client, trans, current, changed: notebooks.currentChanged });
      }
    });
    app.shell.add(sidebar, 'right', { rank: 510, type: 'Environment' });
    restorer?.add(sidebar, sidebar.id);

    app.commands.addCommand(CommandIDs.environment, {
      label: trans.__('Environment'),
      caption: trans.__('Show the environment of the notebook, and how it is made'),
      icon: args => (args.isPalette ? undefined : environmentIcon),
      describedBy: { args: { type: 'object', properties: {} } },
      execute: () => app.shell.activateById(sidebar.id)
    });
    palette?.addItem({
      command: CommandIDs.environment,
      category: trans.__('Notebook Operations'),
      args: { isPalette: true }
    });
  }
};
