import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ICommandPalette } from '@jupyterlab/apputils';
import { IDefaultFileBrowser } from '@jupyterlab/filebrowser';
import { INotebookTracker } from '@jupyterlab/notebook';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';

import { runInBackgroundIcon } from '../icons';
import { IElementClient } from '../tokens';

namespace CommandIDs {
  export const runInBackground = 'element:run-in-background';
}

/**
 * Jobs: from the notebook in front of you to a run that needs neither you nor this window.
 */
export const jobsPlugin: JupyterFrontEndPlugin<void> = {
  id: '@element/labextension:jobs',
  description: 'Runs notebooks in the background.',
  autoStart: true,
  requires: [IElementClient, INotebookTracker],
  optional: [IDefaultFileBrowser, ICommandPalette, ITranslator],
  activate: (
    app: JupyterFrontEnd,
    client: IElementClient,
    notebooks: INotebookTracker,
    files: IDefaultFileBrowser | null,
    palette: ICommandPalette | null,
    translator: ITranslator | null
  ): void => {
    const trans = (translator ?? nullTranslator).load('element');
    const { contents } = app.serviceManager;

    /** The notebook that the command is about, or null. */
    const subject = (args: { path?: unknown; from?: unknown }): string | null => {
      if (typeof args.path === 'string') {
        return args.path;
      }
      if (args.from === 'filebrowser') {
        const [item] = files?.selectedItems() ?? [];
        return item?.type === 'notebook' ? item.path : null;
      }
      return notebooks.currentWidget?.context.path ?? null;
    };

    app.commands.addCommand(CommandIDs.runInBackground, {
      label: args => (args.toolbar ? '' : trans.__('Run in Background Now')),
      caption: args =>
        subject(args) === null
          ? trans.__('Open or select a notebook to run it in the background')
          : trans.__('Run this notebook in the background now, as it is saved'),
      icon: args => (args.isPalette ? undefined : runInBackgroundIcon),
      describedBy: {
        args: {
          type: 'object',
          properties: {
            path: {
              type: 'string',
              description: trans.__('Path of the notebook. Default: the one in front.')
            },
            from: {
              type: 'string',
              description: trans.__('Where to look for the notebook: "filebrowser", or nothing.')
            }
          }
        }
      },
      isEnabled: args => subject(args) !== null,
      execute: async args => {
        const path = subject(args);
        if (path === null) {
          return;
        }
        const panel = notebooks.find(open => open.context.path === path) ?? null;
        const { runInBackground } = await import('./runInBackground');
        await runInBackground(client, trans, contents.localPath(path), panel);
      }
    });

    palette?.addItem({
      command: CommandIDs.runInBackground,
      category: trans.__('Notebook Operations'),
      args: { isPalette: true }
    });
  }
};
