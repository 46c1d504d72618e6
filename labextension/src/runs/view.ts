/**
 * The view of one run.
 */
import { Widget } from '@lumino/widgets';

import type { IServices } from '../jobs/services';

/** The content of the main area widget; it sets its own title once it knows the run. */
export class RunView extends Widget {
  constructor(services: IServices, runId: string) {
    super();
    void [services, runId];
  }
}
