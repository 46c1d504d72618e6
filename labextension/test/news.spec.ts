/** @jest-environment jsdom */
import { Notification } from '@jupyterlab/apputils';
import { nullTranslator } from '@jupyterlab/translation';

import type { Endings } from '../src/jobs/endings';
import { News } from '../src/jobs/news';
import type { IServices } from '../src/jobs/services';

const IDLE = {
  id: 'n-1',
  kind: 'idle',
  sentence: 'Your server has been idle for 2 h.',
  hint: '',
  at: new Date().toISOString(),
  deadline: null,
  keep_until_allowed: new Date(Date.now() + 3_600_000).toISOString(),
  kept_until: null
};

const opened: News[] = [];

afterEach(() => {
  opened.splice(0).forEach(news => news.dispose());
  Notification.dismiss();
  window.localStorage.clear();
});

function open(notices: object[]) {
  const asked: unknown[][] = [];
  const told: unknown[] = [];
  const client = {
    call: async (...call: unknown[]) => {
      asked.push(call);
      return call[1] === '/news'
        ? { at: '2026-11-22T07:00:00Z', notices, ended: [{ run_id: 'r-1' }] }
        : { ...IDLE, kept_until: IDLE.keep_until_allowed };
    }
  };
  const services = {
    client,
    trans: nullTranslator.load('element'),
    watched: { place: 'test' }
  } as unknown as IServices;
  const endings = { tell: async (runs: unknown) => void told.push(runs) } as unknown as Endings;
  const news = new News(services, endings);
  opened.push(news);
  return { asked, told };
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) {
    await new Promise(resolve => setTimeout(resolve, 1));
  }
}

describe('News', () => {
  it('hands on what has ended, and asks from there the next time', async () => {
    const { told } = open([]);
    await until(() => told.length > 0);
    expect(told).toEqual([[{ run_id: 'r-1' }]]);

    const { asked } = open([]);
    await until(() => asked.length > 0);

    expect(asked[0]).toEqual(['get', '/news', { query: { since: '2026-11-22T07:00:00Z' } }]);
  });

  it('shows a notice, and keeps what it is about when the person wants it', async () => {
    const { asked } = open([IDLE]);
    await until(() => Notification.manager.count > 0);
    const [{ message, type, options }] = Notification.manager.notifications;
    expect([message, type]).toEqual([IDLE.sentence, 'warning']);
    const [keep] = options.actions!;
    expect(keep.label).toBe('Keep for 1 h');

    keep.callback(new MouseEvent('click'));
    await until(() => Notification.manager.count > 1);

    expect(asked[1]).toEqual(['post', '/notices/{notice_id}/keep', { path: { notice_id: 'n-1' } }]);
  });

  it('offers nothing where nothing can be held off', async () => {
    open([{ ...IDLE, keep_until_allowed: null }]);
    await until(() => Notification.manager.count > 0);

    expect(Notification.manager.notifications[0].options.actions).toEqual([]);
  });
});
