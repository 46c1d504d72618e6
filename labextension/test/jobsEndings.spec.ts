/** @jest-environment jsdom */
import { Notification } from '@jupyterlab/apputils';
import { nullTranslator } from '@jupyterlab/translation';
import { CommandRegistry } from '@lumino/commands';
import { PromiseDelegate } from '@lumino/coreutils';

import { ElementProblem } from '../src/api/client';
import type { Run } from '../src/api/types';
import type { NotifyOnFinish } from '../src/jobs/endings';
import { Endings } from '../src/jobs/endings';
import type { IServices } from '../src/jobs/services';
import { CommandIDs } from '../src/jobs/services';
import { WatchedRuns } from '../src/jobs/watched';

const trans = nullTranslator.load('element');

const UNKNOWN = new ElementProblem(404, {
  code: 'not_found',
  message: 'There is no run r-1.',
  hint: '',
  field: null,
  details: ''
});

const windows: Endings[] = [];

afterEach(() => windows.splice(0).forEach(window => window.dispose()));

/** A window of a browser: its own models, over what all windows of the browser keep. */
function openWindow(
  run: Partial<Run> | Error,
  wanted: NotifyOnFinish = 'all',
  answers = Promise.resolve()
) {
  const opened: unknown[] = [];
  const commands = new CommandRegistry();
  commands.addCommand(CommandIDs.openRun, { execute: args => opened.push(args) });
  const client = {
    asked: 0,
    call: async () => {
      client.asked += 1;
      await answers;
      if (run instanceof Error) {
        throw run;
      }
      return { run_id: 'r-1', reason: '', ...run };
    }
  };
  const watched = new WatchedRuns('test');
  const services = { client, commands, trans, watched } as unknown as IServices;
  const endings = new Endings(services, async () => wanted);
  windows.push(endings);
  return { endings, watched, client, opened };
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) {
    await new Promise(resolve => setTimeout(resolve, 1));
  }
}

/** What was under way has been done. */
const settled = () => new Promise(resolve => setTimeout(resolve, 5));

const messages = () =>
  Notification.manager.notifications.map(({ type, message }) => [type, message]);

beforeEach(() => {
  Notification.dismiss();
  window.localStorage.clear();
});

describe('Endings', () => {
  it.each([
    ['succeeded', '', 'success', 'daily.ipynb has run.'],
    ['failed', 'Cell 3: no\nmore', 'error', 'daily.ipynb failed. Cell 3: no'],
    [
      'stopped',
      'ada asked it to stop.',
      'warning',
      'daily.ipynb was stopped. ada asked it to stop.'
    ],
    ['lost', 'No sign of life.', 'error', 'daily.ipynb was lost. No sign of life.']
  ] as const)('tells that a run has %s', async (state, reason, type, message) => {
    const { endings, watched, opened } = openWindow({ state, reason });
    watched.add('r-1', 'daily.ipynb');

    endings.watch();
    await until(() => messages().length > 0);

    expect(messages()).toEqual([[type, message]]);
    expect(watched.all).toEqual([]);
    const [see] = Notification.manager.notifications[0].options.actions!;
    see.callback(new MouseEvent('click'));
    expect(opened).toEqual([{ run_id: 'r-1' }]);
  });

  it('goes on where the page before it ended', async () => {
    openWindow({ state: 'running' }).watched.add('r-1', 'a name: with spaces');
    const after = openWindow({ state: 'succeeded' });

    after.endings.watch();
    await until(() => messages().length > 0);

    expect(messages()).toEqual([['success', 'a name: with spaces has run.']]);
  });

  it('tells once of several windows', async () => {
    const answers = new PromiseDelegate<void>();
    const both = [1, 2].map(() => openWindow({ state: 'succeeded' }, 'all', answers.promise));
    both[0].watched.add('r-1', 'daily.ipynb');

    both.forEach(({ endings }) => endings.watch());
    await until(() => both.every(({ client }) => client.asked > 0));
    answers.resolve();
    await until(() => messages().length > 0);
    await settled();

    expect(messages()).toHaveLength(1);
  });

  it('tells in the window that is left of a run that another has started', async () => {
    const left = openWindow({ state: 'succeeded' });
    let added = 0;
    left.watched.added.connect(() => (added += 1));

    // what a browser does in the other windows
    window.localStorage.setItem('element:watched-run:test:r-1', `${Date.now()} daily.ipynb`);
    window.dispatchEvent(
      new StorageEvent('storage', { key: 'element:watched-run:test:r-1', newValue: '1 daily' })
    );

    expect(added).toBe(1);
    left.endings.watch();
    await until(() => messages().length > 0);
  });

  it.each([
    ['failures', 'succeeded'],
    ['none', 'failed']
  ] as const)('tells of %s only what is wanted, when a run has %s', async (wanted, state) => {
    const { endings, watched } = openWindow({ state }, wanted);
    watched.add('r-1', 'daily.ipynb');

    endings.watch();
    await until(() => watched.all.length === 0);
    await settled();

    expect(messages()).toEqual([]);
  });

  it('no longer waits for a run that nobody knows', async () => {
    const { endings, watched } = openWindow(UNKNOWN);
    watched.add('r-1', 'daily.ipynb');

    endings.watch();
    await until(() => watched.all.length === 0);
    await settled();

    expect(messages()).toEqual([]);
  });

  it('goes on waiting while the platform is away', async () => {
    const { endings, watched, client } = openWindow(new Error('No answer.'));
    watched.add('r-1', 'daily.ipynb');

    endings.watch();
    await until(() => client.asked > 0);

    expect(watched.all).toHaveLength(1);
  });

  it('keeps apart what belongs to other servers', () => {
    new WatchedRuns('/user/bob/').add('r-1', 'daily.ipynb');

    expect(new WatchedRuns('/user/ada/').all).toEqual([]);
  });
});
