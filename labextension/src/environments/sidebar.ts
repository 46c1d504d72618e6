/**
 * The place of the environment panel in the side bar.
 */
import type { TranslationBundle } from '@jupyterlab/translation';
import type { Widget } from '@lumino/widgets';

import { environmentIcon } from '../icons';
import { Sidebar } from '../sidebar';

export class EnvironmentSidebar extends Sidebar {
  constructor(trans: TranslationBundle, load: () => Promise<Widget>) {
    super({
      id: 'element-environment',
      name: trans.__('Environment'),
      icon: environmentIcon,
      trans,
      load
    });
  }
}
