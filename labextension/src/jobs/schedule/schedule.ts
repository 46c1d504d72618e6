/**
 * The dialog that turns a notebook into a job.
 */
import type { NotebookPanel } from '@jupyterlab/notebook';

import type { IServices } from '../services';

/** What the dialog is about: a notebook (open in a panel, or not), or a job `team/name` to edit. */
export type Subject = { path: string; panel: NotebookPanel | null } | { job: string };

/** Show the dialog, and return when it is closed. */
export async function schedule(services: IServices, subject: Subject): Promise<void> {
  void [services, subject];
}
