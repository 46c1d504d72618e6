/**
 * What every view of jobs and runs is handed.
 */
import type { IRenderMimeRegistry } from '@jupyterlab/rendermime';
import type { Contents } from '@jupyterlab/services';
import type { IStateDB } from '@jupyterlab/statedb';
import type { TranslationBundle } from '@jupyterlab/translation';
import type { CommandRegistry } from '@lumino/commands';
import type { INotebookTracker } from '@jupyterlab/notebook';

import type { IElementClient } from '../tokens';
import type { WatchedRuns } from './watched';

/** The commands of jobs and runs; all that a button does is one of these. */
export namespace CommandIDs {
  /** `{path?, from?}`: run now with the values used last. */
  export const runInBackground = 'element:run-in-background';
  /** `{path?, from?, job?}`: the dialog, for a notebook or for a job (`team/name`) to edit. */
  export const schedule = 'element:schedule-notebook';
  /** `{tab?: 'runs' | 'schedules'}`: the Jobs panel in the main area. */
  export const openJobs = 'element:open-jobs';
  /** `{run_id}`: the view of one run in the main area. */
  export const openRun = 'element:open-run';
  /** `{first, second}`: two runs side by side in the main area, by their ids. */
  export const compareRuns = 'element:compare-runs';
}

/** What the views work with. */
export interface IServices {
  client: IElementClient;
  commands: CommandRegistry;
  contents: Contents.IManager;
  notebooks: INotebookTracker;
  rendermime: IRenderMimeRegistry | null;
  /** For the few personal things that are remembered, such as the values used last. */
  state: IStateDB | null;
  trans: TranslationBundle;
  /** The runs whose end the person is told of. */
  watched: WatchedRuns;
}
