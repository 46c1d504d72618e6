/**
 * The runs that go on right now.
 */
import type { TranslationBundle } from '@jupyterlab/translation';

import { ElementProblem } from '../api/client';
import type { components } from '../api/schema';
import type { Run } from '../api/types';
import { ListingModel } from '../jobs/list/listing';
import { nameOf } from '../runs/words';
import type { IElementClient } from '../tokens';

/** The runs; null where no platform runs. */
export type RunningPage = components['schemas']['RunPage'] | null;

export class RunningModel extends ListingModel<RunningPage> {
  constructor(
    private readonly _client: IElementClient,
    private readonly _trans: TranslationBundle
  ) {
    super('running', { client: _client, trans: _trans });
  }

  /** Stop a run. */
  async stop(run: Run): Promise<void> {
    const title = this._trans.__('%1 could not be stopped.', nameOf(run));
    const stopped = await this.act(run.run_id, title, () =>
      this._client.call('post', '/runs/{run_id}/stop', { path: { run_id: run.run_id } })
    );
    if (stopped) {
      this.mend(
        page =>
          page && {
            ...page,
            items: page.items.map(each => (each.run_id === stopped.run_id ? stopped : each))
          }
      );
    }
  }

  protected async ask(cursor: string | undefined): Promise<RunningPage> {
    try {
      return await this._client.call('get', '/runs', { query: { state: 'running', cursor } });
    } catch (reason) {
      if (reason instanceof ElementProblem && reason.status === 503) {
        return null;
      }
      throw reason;
    }
  }

  protected isLively(page: RunningPage): boolean {
    return page !== null; // another one may begin
  }

  protected cursorOf(page: RunningPage): string | null {
    return page?.next_cursor ?? null;
  }
}
