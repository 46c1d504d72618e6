/**
 * The Jobs panel: runs and schedules.
 */
import { Widget } from '@lumino/widgets';

import type { IServices } from '../services';

/** Which of the two lists. */
export type Tab = 'runs' | 'schedules';

/** The content of the main area widget. */
export class JobsPanel extends Widget {
  constructor(services: IServices) {
    super();
    void services;
  }

  /** Show one of the lists. */
  turnTo(tab: Tab): void {
    void tab;
  }
}
