/**
 * The dialog that turns a notebook into a run or a job.
 */
import { Notification } from '@jupyterlab/apputils';
import { PathExt } from '@jupyterlab/coreutils';

import type { IServices } from '../services';
import { CommandIDs } from '../services';
import { ScheduleDialog } from './dialog';
import type { Subject } from './model';
import { ScheduleModel } from './model';
import type { Accepted } from './sending';
import { fireIn } from './words';

export type { Subject } from './model';

/** How long a notice with a button stays, in milliseconds. */
const STAYS = 10_000;

let isOpen = false;

/** Show the dialog, and return when it is closed. */
export async function schedule(services: IServices, subject: Subject): Promise<void> {
  if (isOpen) {
    return; // a double click is one click
  }
  isOpen = true;
  try {
    await new ScheduleDialog(new ScheduleModel(services, subject), services.trans, sent =>
      tell(sent, services)
    ).launch();
  } finally {
    isOpen = false;
  }
  // what it was opened with, such as a menu, may be gone
  if (document.activeElement === document.body && 'path' in subject) {
    subject.panel?.activate();
  }
}

function tell(accepted: Accepted, { commands, trans, watched }: IServices): void {
  if (accepted.kind === 'run') {
    const name = PathExt.basename(accepted.path);
    const run = { run_id: accepted.runId };
    watched.add(accepted.runId, name);
    Notification.success(trans.__('Running %1 in the background.', name), {
      autoClose: STAYS,
      actions: [
        {
          label: trans.__('See run'),
          callback: () => void commands.execute(CommandIDs.openRun, run)
        }
      ]
    });
    return;
  }
  const { stored, next } = accepted;
  const { schedule: when } = stored.job;
  const timezone = when?.kind === 'cron' ? when.timezone : undefined;
  Notification.success(
    next
      ? trans.__('Scheduled %1: next %2.', stored.job.name, fireIn(next.at, timezone))
      : trans.__('Saved the job %1.', stored.job.name),
    {
      autoClose: STAYS,
      actions: [
        {
          label: trans.__('See schedules'),
          callback: () => void commands.execute(CommandIDs.openJobs, { tab: 'schedules' })
        }
      ]
    }
  );
}
