import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';

import { IElementClient } from '../tokens';
import { ElementClient } from './client';

/**
 * The client, which every other plugin of Element takes.
 */
export const clientPlugin: JupyterFrontEndPlugin<IElementClient> = {
  id: '@element/labextension:client',
  description: 'Provides a typed client of the Element control plane.',
  autoStart: true,
  provides: IElementClient,
  activate: (app: JupyterFrontEnd): IElementClient =>
    new ElementClient(app.serviceManager.serverSettings)
};
