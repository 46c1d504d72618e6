/** @jest-environment jsdom */
import { Notification } from '@jupyterlab/apputils';
import { nullTranslator } from '@jupyterlab/translation';

import { ElementProblem } from '../src/api/client';
import { runInBackground } from '../src/jobs/runInBackground';
import type { IElementClient } from '../src/tokens';

const trans = nullTranslator.load('element');

/** A client that answers from a table of `verb path`, and remembers what it was asked. */
function client(answers: Record<string, unknown>): IElementClient & { asked: [string, unknown][] } {
  const asked: [string, unknown][] = [];
  return {
    asked,
    call: async (verb: string, path: string, options?: { body?: unknown }) => {
      asked.push([`${verb} ${path}`, options?.body]);
      const answer = answers[`${verb} ${path}`];
      if (answer instanceof Error) {
        throw answer;
      }
      return answer as never;
    }
  };
}

const messages = () =>
  Notification.manager.notifications.map(({ type, message }) => [type, message]);

beforeEach(() => Notification.dismiss());

describe('runInBackground', () => {
  it('sends a snapshot of the notebook, starts a run of it, and says how it ended', async () => {
    const platform = client({
      'post /snapshots': { snapshot_id: 'abc', notebook: 'reports/daily.ipynb' },
      'post /runs': { run_id: 'r-1', state: 'queued' },
      'get /runs/{run_id}': { run_id: 'r-1', state: 'succeeded', reason: '' }
    });

    await runInBackground(platform, trans, 'work/reports/daily.ipynb', null);

    expect(platform.asked.slice(0, 2)).toEqual([
      ['post /snapshots', { path: 'work/reports/daily.ipynb' }],
      ['post /runs', { notebook: 'reports/daily.ipynb', snapshot_id: 'abc', trigger: 'manual' }]
    ]);
    expect(messages()).toEqual([
      ['success', 'daily.ipynb has run.'],
      ['success', 'Running daily.ipynb in the background.']
    ]);
  });

  it('tells why a run failed', async () => {
    const platform = client({
      'post /snapshots': { snapshot_id: 'abc', notebook: 'daily.ipynb' },
      'post /runs': { run_id: 'r-1', state: 'queued' },
      'get /runs/{run_id}': { run_id: 'r-1', state: 'failed', reason: 'Cell 3: ValueError: no' }
    });

    await runInBackground(platform, trans, 'daily.ipynb', null);

    expect(messages()[0]).toEqual(['error', 'daily.ipynb failed. Cell 3: ValueError: no']);
  });

  it('shows the sentence and the hint of a refusal, and starts nothing', async () => {
    const refusal = new ElementProblem(503, {
      code: 'unavailable',
      message: 'The platform is not running.',
      hint: 'Start it with `element up`.',
      field: null
    });
    const platform = client({ 'post /snapshots': refusal });

    await runInBackground(platform, trans, 'daily.ipynb', null);

    expect(platform.asked).toHaveLength(1);
    expect(messages()).toEqual([
      [
        'error',
        'daily.ipynb was not started: The platform is not running. Start it with `element up`.'
      ]
    ]);
  });

  it('saves unsaved changes first', async () => {
    const order: string[] = [];
    const panel = {
      context: { model: { dirty: true }, save: async () => order.push('saved') }
    } as never;
    const platform: IElementClient = {
      call: async (verb: string, path: string) => {
        order.push(`${verb} ${path}`);
        throw new ElementProblem(400, { code: 'invalid', message: 'No.', hint: '', field: null });
      }
    };

    await runInBackground(platform, trans, 'daily.ipynb', panel);

    expect(order).toEqual(['saved', 'post /snapshots']);
  });

  it('takes a double click for one', async () => {
    const platform = client({
      'post /snapshots': { snapshot_id: 'abc', notebook: 'daily.ipynb' },
      'post /runs': { run_id: 'r-1', state: 'queued' },
      'get /runs/{run_id}': { run_id: 'r-1', state: 'succeeded' }
    });

    await Promise.all([
      runInBackground(platform, trans, 'daily.ipynb', null),
      runInBackground(platform, trans, 'daily.ipynb', null)
    ]);
    await runInBackground(platform, trans, 'daily.ipynb', null);

    expect(platform.asked.filter(([call]) => call === 'post /runs')).toHaveLength(2);
  });
});
