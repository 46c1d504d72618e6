/**
 * Element in JupyterLab: the plugins, one for each thing that a person may want to switch off.
 */
import type { JupyterFrontEndPlugin } from '@jupyterlab/application';

import { clientPlugin } from './api/plugin';
import { environmentsPlugin } from './environments/plugin';
import { jobsPlugin } from './jobs/plugin';
import { resourcesPlugin } from './resources/plugin';

const plugins: JupyterFrontEndPlugin<unknown>[] = [
  clientPlugin,
  environmentsPlugin,
  jobsPlugin,
  resourcesPlugin
];

export default plugins;
