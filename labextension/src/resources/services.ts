/**
 * What the views of resources are handed.
 */
import type { INotebookTracker } from '@jupyterlab/notebook';
import type { ServiceManager } from '@jupyterlab/services';
import type { TranslationBundle } from '@jupyterlab/translation';
import type { CommandRegistry } from '@lumino/commands';

import type { IElementClient } from '../tokens';

/** The commands of resources. */
export namespace CommandIDs {
  /** The panel in the side bar. */
  export const resources = 'element:resources';
}

export interface IServices {
  client: IElementClient;
  commands: CommandRegistry;
  notebooks: INotebookTracker;
  manager: ServiceManager.IManager;
  trans: TranslationBundle;
}

/** What a person has set, as shares (0–1). */
export interface ILimits {
  /** From which share memory and disks are marked. */
  readonly marked: number;
  /** From which share of the memory the person is told; above 1: never. */
  readonly told: number;
}
