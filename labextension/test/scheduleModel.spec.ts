/** @jest-environment jsdom */
import { nullTranslator } from '@jupyterlab/translation';

import { ElementProblem } from '../src/api/client';
import type { IServices } from '../src/jobs/services';
import type { Subject } from '../src/jobs/schedule/model';
import { ScheduleModel } from '../src/jobs/schedule/model';

interface IAsked {
  call: string;
  body?: Record<string, unknown>;
  header?: Record<string, string>;
  query?: Record<string, unknown>;
}

const INSPECTION = {
  path: 'daily.ipynb',
  name: 'daily',
  team: 'ada',
  owner: 'ada',
  language: 'python',
  has_parameters_cell: true,
  parameters: [
    { name: 'days', kind: 'int', default: 7, default_source: '7', optional: false, help: '' }
  ],
  findings: []
};

const SNAPSHOT = { snapshot_id: 'f'.repeat(64), notebook: 'daily.ipynb' };

const stored = (version: number) => ({
  version,
  saved_by: 'eve',
  saved_at: '2026-11-21T06:00:00Z',
  pins: {},
  job: { team: 'ada', name: 'daily', tasks: [{ notebook: 'daily.ipynb', parameters: {} }] }
});

const AWAY = new ElementProblem(503, {
  code: 'unavailable',
  message: 'The platform is not running.',
  hint: 'Start it with `element up`.',
  field: null,
  details: ''
});

const CONFLICT = new ElementProblem(409, {
  code: 'conflict',
  message: 'There is a job already.',
  hint: '',
  field: null,
  details: ''
});

let answers: Record<string, unknown>;
let asked: IAsked[];
let kept: Map<string, unknown>;
let model: ScheduleModel;

const services = (): IServices =>
  ({
    client: {
      call: async (verb: string, path: string, options: Omit<IAsked, 'call'> = {}) => {
        const call = `${verb} ${path}`;
        asked.push({ call, ...options });
        const given = answers[call];
        const answer = typeof given === 'function' ? given(options) : given;
        if (answer instanceof Error) {
          throw answer;
        }
        return answer;
      }
    },
    contents: { localPath: (path: string) => path, get: async () => ({}) },
    notebooks: { find: () => undefined },
    state: {
      fetch: async (id: string) => kept.get(id),
      save: async (id: string, value: unknown) => void kept.set(id, value)
    },
    trans: nullTranslator.load('element')
  }) as never;

function open(subject: Subject = { path: 'daily.ipynb', panel: null }): ScheduleModel {
  model = new ScheduleModel(services(), subject);
  return model;
}

const settled = () => new Promise(resolve => setTimeout(resolve, 0));
const sent = (call: string) => asked.filter(each => each.call === call);

beforeEach(() => {
  asked = [];
  kept = new Map();
  answers = {
    'post /notebooks/inspect': INSPECTION,
    'get /environments/of': { state: 'ready', definition: null, build_id: null },
    'post /snapshots': SNAPSHOT,
    'post /runs': { run_id: 'r-1' },
    'post /schedules/preview': { sentence: 'Daily', fires: [{ at: '2026-11-22T06:00:00Z' }] },
    'put /jobs/{team}/{name}': { stored: stored(1), change: 'created', diff: '', changed: [] },
    'get /jobs/{team}/{name}': stored(3)
  };
});

afterEach(() => model.dispose());

describe('a submission', () => {
  it('waits for the notebook to be known, for who is faster', async () => {
    const accepted = await open().submit();

    expect(accepted).toEqual({ kind: 'run', runId: 'r-1', path: 'daily.ipynb' });
    expect(sent('post /runs')).toHaveLength(1);
  });

  it('is one, however often it is asked for', async () => {
    open();

    await Promise.all([model.submit(), model.submit(), model.submit()]);

    expect(sent('post /runs')).toHaveLength(1);
  });

  it('that is tried again is the same run, unless something was changed', async () => {
    open();
    await settled();
    answers['post /runs'] = AWAY;

    model.give('days', { text: '8', none: false });
    await model.submit();
    await model.submit();
    model.give('days', { text: '9', none: false });
    await model.submit();

    const [first, second, third] = sent('post /runs').map(({ body }) => body?.idempotency_key);
    expect(second).toBe(first);
    expect(third).not.toBe(first);
    expect(model.trouble).toEqual(AWAY.problem);
    expect(model.typed(model.parameters[0]).text).toBe('9');
  });

  it('is not sent while something typed is wrong', async () => {
    open();
    await settled();
    model.give('days', { text: 'x', none: false });

    expect(await model.submit()).toBeNull();

    expect([...model.faults.keys()]).toEqual(['parameters.days']);
    expect(sent('post /snapshots')).toHaveLength(0);
    expect(model.refusals).toBe(1);
  });

  it('shows what the server refuses at its field, until that is changed', async () => {
    open();
    await settled();
    answers['post /runs'] = new ElementProblem(400, {
      code: 'invalid',
      message: "Parameter 'days' is too many.",
      hint: '',
      field: 'parameters.days',
      details: ''
    });
    model.give('days', { text: '8', none: false });

    await model.submit();
    expect(model.faults.get('parameters.days')).toBe("Parameter 'days' is too many.");
    expect(model.trouble).toBeNull();

    model.give('days', { text: '9', none: false });
    expect(model.faults.size).toBe(0);
  });

  it('shows what no field is for above all of them, with its details', async () => {
    open();
    await settled();
    const problem = {
      code: 'environment_failed',
      message: 'The environment cannot be locked.',
      hint: '',
      field: 'environment',
      details: 'Because a wants c<2.'
    };
    answers['post /runs'] = new ElementProblem(400, problem);

    await model.submit();

    expect(model.trouble).toEqual(problem);
    expect(model.faults.size).toBe(0);
  });

  it('keeps what is typed while it is on its way, and sends what was there before', async () => {
    open();
    await settled();
    answers['post /snapshots'] = () => {
      model.give('days', { text: '9', none: false });
      return SNAPSHOT;
    };
    answers['post /runs'] = AWAY;
    model.give('days', { text: '8', none: false });

    await model.submit();

    expect(sent('post /runs')[0].body?.parameters).toEqual({ days: 8 });
    expect(model.typed(model.parameters[0]).text).toBe('9');
  });

  it('stops at its next step when the person leaves', async () => {
    open();
    await settled();
    answers['post /snapshots'] = () => {
      model.leave();
      return SNAPSHOT;
    };

    expect(await model.submit()).toBeNull();
    expect(sent('post /runs')).toHaveLength(0);
  });

  it('is refused while the environment cannot be built', async () => {
    answers['get /environments/of'] = {
      state: 'failed',
      definition: null,
      build_id: null,
      failure: { title: 'No', summary: 'No.' }
    };
    open();
    await settled();

    expect(await model.submit()).toBeNull();
    expect(model.obstacle).toBe('The environment cannot be built.');
    expect(sent('post /snapshots')).toHaveLength(0);
  });

  it('remembers what it was given', async () => {
    open();
    await settled();
    model.give('days', { text: '8', none: false });
    await model.submit();
    model.dispose();

    open();
    await settled();
    await settled();

    expect(model.typed(model.parameters[0]).text).toBe('8');
  });
});

describe('a job', () => {
  const daily = async () => {
    open();
    await settled();
    model.setWhen({ kind: 'cron', repeat: 'daily', timezone: 'UTC' });
  };

  it('must be new, or is replaced at the version that was shown', async () => {
    await daily();
    answers['put /jobs/{team}/{name}'] = ({ header, query }: IAsked) =>
      query?.dry_run || header?.['If-Match'] === '"3"'
        ? { stored: stored(4), change: 'updated', diff: '-a\n+b\n', changed: ['schedule'] }
        : CONFLICT;

    expect(await model.submit()).toBeNull();
    expect(model.state).toMatchObject({ kind: 'exists', diff: '-a\n+b\n', stored: { version: 3 } });

    expect(await model.submit()).toMatchObject({ kind: 'job', stored: { version: 4 } });
    expect(sent('put /jobs/{team}/{name}').map(({ header, query }) => header ?? query)).toEqual([
      { 'If-Match': '"0"' },
      { dry_run: true },
      { 'If-Match': '"3"' }
    ]);
  });

  it('is not replaced once another name was typed', async () => {
    await daily();
    answers['put /jobs/{team}/{name}'] = ({ query }: IAsked) =>
      query?.dry_run ? { stored: stored(4), change: 'updated', diff: '+b', changed: [] } : CONFLICT;
    await model.submit();

    model.set({ name: 'other' });

    expect(model.state).toEqual({ kind: 'editing' });
  });

  it('is told with its next fire, even when that cannot be said', async () => {
    await daily();
    answers['post /schedules/preview'] = AWAY;

    expect(await model.submit()).toMatchObject({ kind: 'job', next: null });
  });

  it('that is edited keeps its snapshot, and is saved over its own version', async () => {
    const [declared] = INSPECTION.parameters;
    const job = {
      ...stored(3).job,
      schedule: null,
      snapshot_id: '0'.repeat(64),
      catch_up: 'latest',
      tasks: [
        {
          notebook: 'daily.ipynb',
          parameters: { days: 7 },
          retries: 0,
          time_limit_seconds: null,
          pool: null
        }
      ]
    };
    answers['get /jobs/{team}/{name}'] = { ...stored(3), job };
    open({ job: 'ada/daily' });
    await settled();
    await settled();
    expect(model.form.when.kind).toBe('never');
    model.setWhen({ kind: 'cron', repeat: 'hourly', time: '00:30' });

    await model.submit();

    expect(sent('post /snapshots')).toHaveLength(0);
    expect(sent('put /jobs/{team}/{name}')).toMatchObject([
      {
        header: { 'If-Match': '"3"' },
        body: {
          snapshot_id: job.snapshot_id,
          schedule: { expression: '30 * * * *' },
          tasks: [{ parameters: { [declared.name]: 7 } }]
        }
      }
    ]);
  });

  it('that cannot be fetched is said, and fetched again', async () => {
    answers['get /jobs/{team}/{name}'] = AWAY;
    open({ job: 'ada/daily' });
    await settled();

    expect(model.state).toEqual({ kind: 'failed', problem: AWAY.problem });
    expect(await model.submit()).toBeNull();
  });
});
