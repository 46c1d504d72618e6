/** @jest-environment jsdom */
import { StateDB } from '@jupyterlab/statedb';
import { nullTranslator } from '@jupyterlab/translation';

import { ElementProblem } from '../src/api/client';
import type { Run } from '../src/api/types';
import { diffLines, hunksOf } from '../src/diff/lines';
import { changesBetween, filesBetween } from '../src/jobs/list/changes';
import { driftOf } from '../src/jobs/list/drift';
import type { RunPage } from '../src/jobs/list/runs';
import { OWN } from '../src/jobs/list/listing';
import { RunsModel } from '../src/jobs/list/runs';
import type { JobPage } from '../src/jobs/list/schedules';
import { SchedulesModel } from '../src/jobs/list/schedules';
import type { StoredJob } from '../src/jobs/list/words';
import { ahead, durationOf, reasonOf, standingOf } from '../src/jobs/list/words';
import type { IServices } from '../src/jobs/services';
import { WatchedRuns } from '../src/jobs/watched';
import { nameOf } from '../src/runs/words';
import type { IElementClient } from '../src/tokens';

const trans = nullTranslator.load('element');

const DOWN = new ElementProblem(503, {
  code: 'unavailable',
  message: 'The Element platform is not running.',
  hint: 'Start it with `element up`.',
  field: null,
  details: ''
});

function aRun(changes: Partial<Run> = {}): Run {
  return {
    run_id: 'r-1',
    state: 'succeeded',
    reason: '',
    job: null,
    job_version: null,
    task: 'main',
    team: 'ada',
    owner: 'ada',
    notebook: 'reports/daily.ipynb',
    snapshot_id: 'f'.repeat(64),
    parameters: {},
    allow_extra_parameters: false,
    kernel: null,
    environment: null,
    environment_id: null,
    lock_id: null,
    definition: null,
    python: null,
    size: null,
    time_limit_seconds: 7200,
    cell_time_limit_seconds: null,
    trigger: 'manual',
    logical_date: null,
    dag_run_id: null,
    attempt: 1,
    created_at: '2026-11-20T12:00:00Z',
    started_at: '2026-11-20T12:00:01Z',
    finished_at: '2026-11-20T12:01:03Z',
    stop_requested_at: null,
    queue_position: null,
    cells_done: 3,
    cells_total: 3,
    failing_cell: null,
    recorded: {},
    artifacts: [],
    output_path: null,
    cpu_seconds: null,
    peak_memory_bytes: null,
    ...changes
  };
}

function aJob(job: Partial<StoredJob['job']> = {}, stored: Partial<StoredJob> = {}): StoredJob {
  return {
    job: {
      apiVersion: 'element/v1',
      kind: 'Job',
      team: 'ada',
      name: 'nightly',
      title: '',
      description: '',
      owner: 'ada',
      snapshot_id: 'f'.repeat(64),
      environment: null,
      size: null,
      schedule: {
        kind: 'cron',
        expression: '0 6 * * *',
        timezone: 'UTC',
        start: null,
        end: null
      },
      catch_up: 'latest',
      max_active: 1,
      paused: false,
      tasks: [
        {
          name: 'main',
          notebook: 'daily.ipynb',
          parameters: { limit: 10 },
          inputs: {},
          needs: [],
          kernel: null,
          allow_extra_parameters: false,
          retries: 0,
          retry_delay_seconds: 60,
          time_limit_seconds: null,
          cell_time_limit_seconds: null,
          pool: null
        }
      ],
      ...job
    },
    version: 1,
    saved_at: '2026-11-20T12:00:00Z',
    saved_by: 'ada',
    scheduled_since: '2026-11-20T12:00:00Z',
    pins: {},
    ...stored
  };
}

const page = (...items: Run[]): RunPage => ({ items, next_cursor: null });

/** A platform: it says what it is set to, and remembers what it was asked. */
class Platform implements IElementClient {
  says: Record<string, unknown> = {};
  asked: { call: string; path?: unknown; query?: unknown; body?: unknown }[] = [];

  call = async (verb: string, path: string, options = {}): Promise<never> => {
    const call = `${verb} ${path}`;
    if (call !== 'get /me') {
      this.asked.push({ call, ...options });
    }
    const answer = this.says[call];
    if (answer instanceof Error) {
      throw answer;
    }
    return answer as never;
  };

  follow = (): AsyncGenerator<never, void> => {
    throw new Error('Nothing is followed.');
  };
}

function servicesOf(client: IElementClient, more: Partial<IServices> = {}): IServices {
  return { client, trans, watched: new WatchedRuns('test'), state: null, ...more } as IServices;
}

/** Wait until something is so. */
async function until(condition: () => boolean): Promise<void> {
  while (!condition()) {
    await new Promise(resolve => setTimeout(resolve, 1));
  }
}

beforeEach(() => window.localStorage.clear());

describe('RunsModel', () => {
  let platform: Platform;
  let model: RunsModel;

  beforeEach(() => {
    platform = new Platform();
    platform.says['get /runs'] = page(aRun());
    model = new RunsModel(servicesOf(platform));
  });

  afterEach(() => model.dispose());

  const queries = () => platform.asked.map(({ query }) => query);

  it('asks for nothing before somebody looks', async () => {
    model.refresh();
    await new Promise(resolve => setTimeout(resolve, 20));

    expect(platform.asked).toEqual([]);
    expect(model.state.kind).toBe('loading');
  });

  it('shows the newest page of 50', async () => {
    model.look();
    await until(() => model.state.kind === 'ready');

    expect(platform.asked[0].query).toMatchObject({ limit: 50, cursor: undefined });
    expect(model.rows.map(nameOf)).toEqual(['daily']);
  });

  it('says why nothing can be shown, and shows it once the platform is there', async () => {
    platform.says['get /runs'] = DOWN;
    model.look();
    await until(() => model.state.kind === 'failed');
    expect(model.state).toMatchObject({ problem: { hint: 'Start it with `element up`.' } });

    platform.says['get /runs'] = page(aRun());
    model.refresh();
    await until(() => model.state.kind === 'ready');
  });

  it('keeps what it knew when the platform goes away', async () => {
    model.look();
    await until(() => model.state.kind === 'ready');

    platform.says['get /runs'] = DOWN;
    model.refresh();
    await until(() => model.state.kind === 'ready' && model.state.stale !== null);

    expect(model.rows).toHaveLength(1);
  });

  it('lets the server sort by state, and looks at larger pages for words', async () => {
    model.look();
    await until(() => model.state.kind === 'ready');

    model.want({ state: 'failed' });
    expect(model.state.kind).toBe('loading');
    await until(() => model.state.kind === 'ready');
    expect(queries()).toContainEqual(expect.objectContaining({ state: 'failed', limit: 50 }));

    const wide = expect.objectContaining({ state: 'failed', limit: 200 });
    expect(queries()).not.toContainEqual(wide);
    model.want({ text: 'weekly' });
    expect(model.rows).toEqual([]);
    await until(() => model.state.kind === 'ready' && queries().length > 5);
    expect(queries()).toContainEqual(wide);
  });

  it('keeps asking often for what has failed while something runs', async () => {
    platform.says['get /runs'] = page(aRun({ state: 'running', finished_at: null }));
    model.look();
    model.want({ state: 'failed' });
    await until(() => model.state.kind === 'ready');

    expect(queries()).toContainEqual(expect.objectContaining({ state: 'running', limit: 1 }));
  });

  it('turns pages by the cursor that the server gave, and back', async () => {
    platform.says['get /runs'] = { items: [aRun()], next_cursor: 'c-1' };
    model.look();
    await until(() => model.hasFollowing);

    platform.says['get /runs'] = page(aRun({ run_id: 'r-0' }));
    model.following();
    await until(() => model.state.kind === 'ready');
    expect(platform.asked[platform.asked.length - 1].query).toMatchObject({ cursor: 'c-1' });
    expect([model.number, model.hasFollowing]).toEqual([1, false]);

    model.preceding();
    await until(() => model.state.kind === 'ready');
    expect(platform.asked[platform.asked.length - 1].query).toMatchObject({ cursor: undefined });
  });

  it('asks anew for what is wanted while another answer is on its way', async () => {
    platform.says['get /runs'] = page(aRun());
    model.look();
    await until(() => model.state.kind === 'ready');

    model.whose = 'ml';
    await until(() => platform.asked.length > 1);
    model.whose = 'ops';
    await until(() => model.state.kind === 'ready');

    expect(platform.asked[platform.asked.length - 1].query).toMatchObject({ team: 'ops' });
  });

  it('lists those of the person, or of one team, once the person is known', async () => {
    platform.says['get /me'] = { name: 'ada', admin: false, hub: true, teams: { ada: 'lead' } };
    platform.says['get /runs'] = page(aRun());
    model.look();
    await until(() => model.state.kind === 'ready');

    for (const [whose, query] of [
      [OWN, { owner: 'ada' }],
      ['ml', { team: 'ml' }],
      ['', {}]
    ] as const) {
      platform.asked = [];
      model.whose = whose;
      await until(() => model.state.kind === 'ready');
      expect(platform.asked.map(({ call }) => call)).toEqual(['get /runs']); // who one is is known
      const { owner, team } = platform.asked[0].query as Record<string, unknown>;
      expect({ owner, team }).toEqual({ owner: undefined, team: undefined, ...query });
    }
  });

  it('stops a run once, however often that is asked', async () => {
    const running = aRun({ state: 'running', finished_at: null });
    platform.says['get /runs'] = page(running);
    platform.says['post /runs/{run_id}/stop'] = {
      ...running,
      stop_requested_at: '2026-11-20T12:00:30Z'
    };
    model.look();
    await until(() => model.state.kind === 'ready');

    await Promise.all([model.stop(running), model.stop(running)]);

    expect(platform.asked.filter(({ call }) => call.includes('stop'))).toHaveLength(1);
    expect(standingOf(model.rows[0], trans)).toBe('Stopping');
  });

  it('says why an action did not succeed, and keeps the list', async () => {
    platform.says['post /runs'] = DOWN;
    model.look();
    await until(() => model.state.kind === 'ready');

    await model.again(aRun());

    expect(model.refusal).toMatchObject({ title: 'daily could not be run again.' });
    expect(model.rows).toHaveLength(1);
  });

  it('runs the same again, waits for its end, and shows it first', async () => {
    platform.says['post /runs'] = aRun({ run_id: 'r-2', state: 'queued' });
    model.look();
    await until(() => model.state.kind === 'ready');

    await model.again(aRun());

    expect(platform.asked.find(({ call }) => call === 'post /runs')).toMatchObject({
      body: { notebook: 'reports/daily.ipynb', trigger: 'manual' }
    });
    expect(model.rows.map(run => run.run_id)).toEqual(['r-2', 'r-1']);
    expect(new WatchedRuns('test').all).toMatchObject([{ runId: 'r-2', name: 'daily' }]);
  });
});

describe('SchedulesModel', () => {
  let platform: Platform;
  let model: SchedulesModel;
  const listing = (stored: StoredJob): JobPage => ({
    items: [{ stored, next_fire: null, last_runs: [] }],
    next_cursor: null,
    errors: []
  });

  beforeEach(async () => {
    platform = new Platform();
    platform.says['get /jobs'] = listing(aJob());
    platform.says['post /schedules/preview'] = { sentence: 'Daily at 06:00 UTC', fires: [] };
    model = new SchedulesModel(servicesOf(platform));
    model.look();
    await until(() => model.state.kind === 'ready');
  });

  afterEach(() => model.dispose());

  it('asks for the words of a schedule once', async () => {
    const { schedule } = aJob().job;
    await until(() => model.wordsFor(schedule!) !== null);
    model.refresh();
    await until(() => platform.asked.filter(({ call }) => call === 'get /jobs').length === 2);

    expect(model.wordsFor(schedule!)).toBe('Daily at 06:00 UTC');
    expect(platform.asked.filter(({ call }) => call.includes('preview'))).toHaveLength(1);
  });

  it('shows a paused job as the platform saved it', async () => {
    platform.says['post /jobs/{team}/{name}/pause'] = aJob({ paused: true }, { version: 2 });

    await model.setPaused(aJob(), true);

    expect(model.state).toMatchObject({
      page: { items: [{ stored: { version: 2, job: { paused: true } }, next_fire: null }] }
    });
  });

  it('waits for the end of what it started', async () => {
    platform.says['post /jobs/{team}/{name}/trigger'] = {
      via: 'element',
      dag_run_id: null,
      run_id: 'r-7'
    };

    await model.trigger(aJob());

    expect(new WatchedRuns('test').all).toMatchObject([{ runId: 'r-7', name: 'nightly' }]);
  });

  it('no longer shows a job that was deleted', async () => {
    await model.remove(aJob());

    expect(model.state).toMatchObject({ page: { items: [] } });
  });

  it('keeps a job that could not be deleted, and says why', async () => {
    platform.says['delete /jobs/{team}/{name}'] = DOWN;

    await model.remove(aJob());

    expect(model.state).toMatchObject({ page: { items: [{ next_fire: null }] } });
    expect(model.refusal?.title).toBe('nightly could not be deleted.');
  });
});

describe('a notebook that changed after it was scheduled', () => {
  const NOW = 'b'.repeat(64);
  let platform: Platform;
  let services: IServices;
  let model: SchedulesModel;

  beforeEach(async () => {
    platform = new Platform();
    const file = { size_bytes: 1, executable: false, link: null };
    platform.says = {
      'get /jobs': {
        items: [{ stored: aJob(), next_fire: null, last_runs: [] }],
        next_cursor: null,
        errors: []
      },
      'post /schedules/preview': { sentence: '', fires: [] },
      'get /snapshots/{snapshot_id}': {
        entries: [{ ...file, path: 'daily.ipynb', digest: 'a'.repeat(64) }]
      },
      'get /snapshots/{snapshot_id}/origin': { path: 'work/daily.ipynb' },
      'post /snapshots': { snapshot_id: 'e'.repeat(64), notebook: 'daily.ipynb' },
      'put /jobs/{team}/{name}': { stored: aJob({ snapshot_id: 'e'.repeat(64) }, { version: 2 }) }
    };
    const contents = { get: async () => ({ hash: NOW, hash_algorithm: 'sha256' }) };
    services = servicesOf(platform, {
      state: new StateDB(),
      contents: contents as unknown as IServices['contents']
    });
    window.localStorage.clear();
    model = new SchedulesModel(services);
    model.look();
    await until(() => model.driftOf(aJob()) !== null);
  });

  afterEach(() => model.dispose());

  it('is taken as it is now, over the version that is shown', async () => {
    await model.update(aJob(), model.driftOf(aJob())!);

    expect(platform.asked).toContainEqual({
      call: 'post /snapshots',
      body: { path: 'work/daily.ipynb' }
    });
    expect(platform.asked.find(({ call }) => call.startsWith('put'))).toMatchObject({
      header: { 'If-Match': '"1"' },
      body: { snapshot_id: 'e'.repeat(64), tasks: [{ parameters: { limit: 10 } }] }
    });
    expect(model.driftOf(aJob())).toBeNull();
  });

  it('is not spoken of again when the one of the job is to be kept', async () => {
    model.keep(aJob(), model.driftOf(aJob())!);
    expect(model.driftOf(aJob())).toBeNull();

    expect(await driftOf(aJob(), services)).toBeNull();
  });

  it('is not spoken of again by a comparison that had begun before it was decided', async () => {
    const kept = platform.says['get /snapshots/{snapshot_id}'];
    let answer = () => {};
    const asked = platform.asked.length;
    platform.says['get /snapshots/{snapshot_id}'] = new Promise(resolve => {
      answer = () => resolve(kept);
    });
    model.rest();
    model.look();
    await until(() => platform.asked.slice(asked).some(({ call }) => call.endsWith('_id}')));

    model.keep(aJob(), model.driftOf(aJob())!);
    answer();
    await new Promise(resolve => setTimeout(resolve));

    expect(model.driftOf(aJob())).toBeNull();
  });

  it('is not spoken of when nobody knows where it lies', async () => {
    platform.says['get /snapshots/{snapshot_id}/origin'] = { path: null };

    expect(await driftOf(aJob(), services)).toBeNull();
  });
});

describe('the words of a run', () => {
  it('names a run by its job and task, or by its notebook', () => {
    expect(nameOf(aRun())).toBe('daily');
    expect(nameOf(aRun({ job: 'ada/nightly' }))).toBe('nightly');
    expect(nameOf(aRun({ job: 'ada/nightly', task: 'report' }))).toBe('nightly · report');
  });

  it('says where it is', () => {
    expect(standingOf(aRun({ state: 'queued' }), trans)).toBe('Queued');
    expect(standingOf(aRun({ state: 'running', cells_done: 1 }), trans)).toBe('Running 1/3');
    expect(standingOf(aRun({ state: 'lost' }), trans)).toBe('Lost');
  });

  it('says how long it took, or has taken so far', () => {
    const now = Date.parse('2026-11-20T13:02:06Z');
    expect(durationOf(aRun(), now)).toBe('1:02');
    expect(durationOf(aRun({ finished_at: null }), now)).toBe('1:02:05');
    expect(durationOf(aRun({ started_at: null }), now)).toBeNull();
  });

  it('gives the reason in one line, and none for what went well', () => {
    expect(reasonOf(aRun({ state: 'failed', reason: 'Cell 3: no\nmore' }))).toBe('Cell 3: no');
    expect(reasonOf(aRun({ reason: 'x' }))).toBe('');
  });

  it('says how far ahead a fire is', () => {
    const now = Date.parse('2026-11-20T12:00:00Z');
    expect(ahead('2026-11-20T12:00:10Z', now)).toBe('in 1 minute');
    expect(ahead('2026-11-20T15:30:00Z', now)).toBe('in 3 hours');
    expect(ahead('2026-11-22T15:30:00Z', now)).toBe('in 2 days');
  });
});

describe('two versions of a job', () => {
  it('differ where their definitions do', () => {
    const [task] = aJob().job.tasks;
    const after = aJob({
      paused: true,
      schedule: { kind: 'once', at: '2026-12-01T00:00:00Z' },
      tasks: [{ ...task, parameters: { limit: 20 } }]
    });

    expect(changesBetween(aJob(), after)).toEqual([
      { place: 'parameters.limit', before: '10', after: '20' },
      { place: 'paused', before: 'false', after: 'true' },
      { place: 'schedule.at', before: null, after: '2026-12-01T00:00:00Z' },
      { place: 'schedule.expression', before: '0 6 * * *', after: null },
      { place: 'schedule.kind', before: 'cron', after: 'once' },
      { place: 'schedule.timezone', before: 'UTC', after: null }
    ]);
  });

  it('differ where they are locked to other packages', () => {
    const pin = { environment_id: 'py-1', definition: 'requirements.txt', python: '3.11.7' };
    const before = aJob({}, { pins: { main: { ...pin, lock_id: 'a'.repeat(64) } } });
    const after = aJob({}, { pins: { main: { ...pin, lock_id: 'b'.repeat(64) } } });

    expect(changesBetween(before, after)).toEqual([
      {
        place: 'locked',
        before: 'requirements.txt, Python 3.11.7, lock aaaaaaaaaaaa',
        after: 'requirements.txt, Python 3.11.7, lock bbbbbbbbbbbb'
      }
    ]);
  });

  it('differ in the files of their snapshots', () => {
    const file = (path: string, digest: string) => ({
      path,
      digest,
      size_bytes: 1,
      executable: false,
      link: null
    });
    const before = { entries: [file('a.ipynb', '1'), file('gone.csv', '2'), file('same', '3')] };
    const after = { entries: [file('a.ipynb', '9'), file('new.csv', '2'), file('same', '3')] };

    expect(filesBetween(before, after)).toEqual([
      { path: 'a.ipynb', what: 'changed' },
      { path: 'gone.csv', what: 'removed' },
      { path: 'new.csv', what: 'added' }
    ]);
  });
});

describe('two texts', () => {
  const written = (before: string, after: string) =>
    diffLines([...before], [...after]).map(({ mark, text }) => mark.trim() + text);

  it('differ in as few lines as may be', () => {
    expect(written('abc', 'abc')).toEqual(['a', 'b', 'c']);
    expect(written('abcd', 'axcd')).toEqual(['a', '-b', '+x', 'c', 'd']);
    expect(written('abcabba', 'cbabac').filter(line => line.length > 1)).toHaveLength(5);
    expect(written('', 'ab')).toEqual(['+a', '+b']);
    expect(written('aa', 'a')).toEqual(['a', '-a']);
  });

  it('become one another by what is taken away and added', () => {
    const [before, after] = ['the quick brown fox', 'a quicker brown box'];
    const lines = diffLines([...before], [...after]);
    const side = (other: string) =>
      lines
        .filter(({ mark }) => mark !== other)
        .map(({ text }) => text)
        .join('');

    expect([side('+'), side('-')]).toEqual([before, after]);
  });

  it('are shown around what differs', () => {
    const lines = diffLines([...'abcdefghi'], [...'abcdXfghi']);

    expect(hunksOf(lines, 1).map(line => line && line.mark.trim() + line.text)).toEqual([
      'd',
      '-e',
      '+X',
      'f',
      null
    ]);
    expect(hunksOf(diffLines(['a'], ['a']))).toEqual([]);
  });

  it('of very many lines are compared in a moment', () => {
    const many = (word: string) => Array.from({ length: 50_000 }, (_, at) => `${word} ${at}`);

    expect(diffLines(many('a'), many('b'))).toHaveLength(100_000);
  });
});
