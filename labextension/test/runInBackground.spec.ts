/** @jest-environment jsdom */
import { Notification } from '@jupyterlab/apputils';
import { StateDB } from '@jupyterlab/statedb';
import { nullTranslator } from '@jupyterlab/translation';
import { CommandRegistry } from '@lumino/commands';

import { ElementProblem } from '../src/api/client';
import { runInBackground } from '../src/jobs/runInBackground';
import { remember } from '../src/jobs/schedule/remembered';
import type { IServices } from '../src/jobs/services';
import { CommandIDs } from '../src/jobs/services';
import { WatchedRuns } from '../src/jobs/watched';

const trans = nullTranslator.load('element');

const SENT = {
  'post /snapshots': { snapshot_id: 'abc', notebook: 'reports/daily.ipynb' },
  'post /runs': { run_id: 'r-1', state: 'queued' }
};

const refusal = (field: string | null) =>
  new ElementProblem(400, {
    code: 'invalid',
    message: 'The notebook has no parameter ‘limit’.',
    hint: 'Did you mean ‘limits’?',
    field,
    details: ''
  });

/** What the command is handed: a platform that answers from a table, and what it was asked. */
function services(answers: Record<string, unknown>) {
  const asked: [string, unknown][] = [];
  const executed: [string, unknown][] = [];
  const commands = new CommandRegistry();
  for (const id of [CommandIDs.openRun, CommandIDs.schedule]) {
    commands.addCommand(id, { execute: args => executed.push([id, args]) });
  }
  const client = {
    call: async (verb: string, path: string, options?: { body?: unknown }) => {
      asked.push([`${verb} ${path}`, options?.body]);
      const answer = answers[`${verb} ${path}`];
      if (answer instanceof Error) {
        throw answer;
      }
      return answer;
    }
  };
  const given = { client, commands, state: new StateDB(), trans, watched: new WatchedRuns('test') };
  return { ...(given as unknown as IServices), asked, executed };
}

const messages = () =>
  Notification.manager.notifications.map(({ type, message }) => [type, message]);

/** Press the one button of the one notice. */
function press(label: string): void {
  const [{ options }] = Notification.manager.notifications;
  const action = options.actions?.find(each => each.label === label);
  action?.callback(new MouseEvent('click'));
}

beforeEach(() => {
  Notification.dismiss();
  window.localStorage.clear();
});

describe('runInBackground', () => {
  it('sends a snapshot of the notebook, starts a run of it, and waits for its end', async () => {
    const platform = services(SENT);

    await runInBackground(platform, 'work/reports/daily.ipynb', null);

    expect(platform.asked).toEqual([
      ['post /snapshots', { path: 'work/reports/daily.ipynb' }],
      [
        'post /runs',
        expect.objectContaining({
          notebook: 'reports/daily.ipynb',
          snapshot_id: 'abc',
          parameters: {},
          trigger: 'manual'
        })
      ]
    ]);
    expect(messages()).toEqual([['success', 'Running daily.ipynb in the background.']]);
    expect(platform.watched.all).toMatchObject([{ runId: 'r-1', name: 'daily.ipynb' }]);
  });

  it('opens the run from its notice', async () => {
    const platform = services(SENT);

    await runInBackground(platform, 'daily.ipynb', null);
    press('See run');

    expect(platform.executed).toEqual([[CommandIDs.openRun, { run_id: 'r-1' }]]);
  });

  it('runs for the team for which the server was started, unless another was chosen', async () => {
    const sent = { ...SENT, 'post /snapshots': { ...SENT['post /snapshots'], team: 'ml' } };
    const platform = services(sent);
    await runInBackground(platform, 'daily.ipynb', null);
    await remember(platform.state, 'daily.ipynb', { team: 'ops' });
    await runInBackground(platform, 'daily.ipynb', null);

    const runs = platform.asked.filter(([call]) => call === 'post /runs');
    expect(runs.map(([, body]) => (body as { team?: string }).team)).toEqual(['ml', 'ops']);
  });

  it('gives the values that the notebook was given last', async () => {
    const platform = services(SENT);
    await remember(platform.state, 'daily.ipynb', {
      parameters: { limit: 3 },
      size: 'large',
      team: 'ml'
    });

    await runInBackground(platform, 'daily.ipynb', null);

    expect(platform.asked[1][1]).toMatchObject({
      parameters: { limit: 3 },
      size: 'large',
      team: 'ml'
    });
  });

  it('offers to change values that the notebook no longer takes', async () => {
    const platform = services({ ...SENT, 'post /runs': refusal('parameters.limit') });

    await runInBackground(platform, 'daily.ipynb', null);
    press('Change values…');

    expect(messages()).toEqual([
      [
        'error',
        'daily.ipynb was not started: The notebook has no parameter ‘limit’. ' +
          'Did you mean ‘limits’?'
      ]
    ]);
    expect(platform.executed).toEqual([[CommandIDs.schedule, { path: 'daily.ipynb' }]]);
    expect(platform.watched.all).toEqual([]);
  });

  it('starts nothing when the snapshot is refused', async () => {
    const platform = services({ 'post /snapshots': refusal(null) });

    await runInBackground(platform, 'daily.ipynb', null);

    expect(platform.asked.map(([call]) => call)).not.toContain('post /runs');
    expect(Notification.manager.notifications[0].options.actions).toEqual([]);
  });

  it('saves unsaved changes first', async () => {
    const platform = services({ 'post /snapshots': refusal(null) });
    const order: string[] = [];
    const panel = {
      context: {
        model: { dirty: true },
        save: async () => order.push(`saved before ${platform.asked.length} calls`)
      }
    } as never;

    await runInBackground(platform, 'daily.ipynb', panel);

    expect(order).toEqual(['saved before 0 calls']);
    expect(platform.asked).toHaveLength(1);
  });

  it('takes a double click for one', async () => {
    const platform = services(SENT);

    await Promise.all([
      runInBackground(platform, 'daily.ipynb', null),
      runInBackground(platform, 'daily.ipynb', null)
    ]);
    await runInBackground(platform, 'daily.ipynb', null);

    expect(platform.asked.filter(([call]) => call === 'post /runs')).toHaveLength(2);
  });
});
