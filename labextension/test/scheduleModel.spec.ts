/** @jest-environment jsdom */
import { nullTranslator } from '@jupyterlab/translation';

import { ElementProblem } from '../src/api/client';
import type { IServices } from '../src/jobs/services';
import type { Subject } from '../src/jobs/schedule/model';
import { ScheduleModel } from '../src/jobs/schedule/model';
import { scarce } from '../src/quota';

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

const ME = { name: 'ada', admin: false, hub: true, teams: { ada: 'lead' } };

const size = (name: string, gib: number, price: string) => ({
  name,
  title: name,
  description: '',
  cpu: 1,
  memory_bytes: gib * 1024 ** 3,
  gpu: 0,
  price_per_hour: price
});

const SIZES = {
  default: 'small',
  currency: 'USD',
  sizes: [size('large', 32, '0.4'), size('medium', 8, '0.10'), size('small', 2, '0.04')],
  free: { cpu: 2, memory_bytes: 4 * 1024 ** 3, gpu: 0 }
};

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
const until = async (isSo: () => boolean) => {
  while (!isSo()) {
    await settled();
  }
};
const sent = (call: string) => asked.filter(each => each.call === call);

const QUOTA = {
  rule: '',
  team: 'ada',
  limits: [{ kind: 'budget', used: 5, limit: 10, sentence: 'ada has used 5 of 10 GPU-hours.' }],
  fits: true,
  never: false,
  sentence: '',
  hint: ''
};

beforeEach(() => {
  asked = [];
  kept = new Map();
  answers = {
    'get /me': ME,
    'get /sizes': SIZES,
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

describe('the size', () => {
  const body = () => sent('post /runs')[0].body;

  it('is the usual one when nothing else is known, and then not named', async () => {
    await open().submit();

    expect(body()?.size).toBeUndefined();
  });

  it('is the smallest in which runs like those before fit', async () => {
    answers['post /notebooks/inspect'] = { ...INSPECTION, notebook: 'daily.ipynb' };
    answers['get /usage/advice'] = { memory_bytes: 3 * 1024 ** 3, cpu_cores: 0.5, evidence: null };

    await open().submit();

    expect(body()).toMatchObject({ size: 'medium' });
  });

  it('is the one that was chosen last, while there is such a size', async () => {
    open().set({ size: 'large' });
    await model.submit();
    model.dispose();

    open();
    await settled();
    await settled();
    expect(model.size?.name).toBe('large');
    model.dispose();

    answers['get /sizes'] = { ...SIZES, sizes: SIZES.sizes.slice(1) };
    open();
    await settled();
    await settled();
    expect(model.size).toBeNull();
  });

  it('that the server refuses is said at its field', async () => {
    answers['post /runs'] = new ElementProblem(400, {
      code: 'invalid',
      message: "size: There is no size 'large'.",
      hint: 'There are: small.',
      field: 'size',
      details: ''
    });
    open().set({ size: 'large' });

    await model.submit();

    expect(model.faults.get('size')).toBe("There is no size 'large'. There are: small.");
    expect(model.trouble).toBeNull();
  });

  it('keeps nothing from running when the sizes are not known', async () => {
    answers['get /sizes'] = AWAY;
    answers['get /me'] = AWAY;

    expect(await open().submit()).toMatchObject({ kind: 'run' });

    expect(model.places.sizes).toMatchObject({ kind: 'failed' });
    expect(body()?.size).toBeUndefined();
    expect(body()).toMatchObject({ team: 'ada' });
  });
});

describe('the team', () => {
  it('is not asked of who has one', async () => {
    answers['get /me'] = { ...ME, teams: { ada: 'lead', ops: 'viewer' } };
    open();
    await settled();

    expect(model.places.teams).toEqual([]);
    expect(model.team).toBe('ada');
  });

  it('and the owner are what the platform says of the person', async () => {
    answers['post /notebooks/inspect'] = { ...INSPECTION, team: 'root', owner: 'root' };
    open();
    await settled();
    model.setWhen({ kind: 'cron', repeat: 'daily', timezone: 'UTC' });

    await model.submit();

    expect(sent('put /jobs/{team}/{name}')[0].body).toMatchObject({ team: 'ada', owner: 'ada' });
  });

  it('is the one that was chosen last, else that of the server', async () => {
    answers['get /me'] = { ...ME, teams: { ada: 'lead', ml: 'member', ops: 'viewer' } };
    answers['post /notebooks/inspect'] = { ...INSPECTION, team: 'ops' };
    open();
    await settled();
    expect(model.places.teams).toEqual(['ada', 'ml']);
    expect(model.team).toBe('ada'); // nobody runs where they only look

    model.set({ team: 'ml' });
    model.setWhen({ kind: 'cron', repeat: 'daily', timezone: 'UTC' });
    await model.submit();
    expect(sent('put /jobs/{team}/{name}')[0].body).toMatchObject({ team: 'ml', owner: 'ada' });
    model.dispose();

    open();
    await settled();
    await settled();
    expect(model.team).toBe('ml');
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
    expect(model.state).toMatchObject({
      kind: 'exists',
      stored: { version: 3 },
      replaced: { version: 4 }
    });

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

describe('the quota', () => {
  const quota = (sizes: Record<string, object> = {}) => {
    answers['get /quota'] = ({ query }: IAsked) => ({ ...QUOTA, ...sizes[String(query?.size)] });
  };

  it('is asked for each team and size that is chosen, and a late answer is dropped', async () => {
    let answer: (said: unknown) => void = () => {};
    answers['get /me'] = { ...ME, teams: { ada: 'lead', ml: 'member' } };
    answers['get /quota'] = new Promise(resolve => (answer = resolve));
    const model = open();
    await until(() => sent('get /quota').length > 0);
    quota({ large: { fits: false, sentence: 'No.' } });
    model.set({ team: 'ml', size: 'large' });
    await until(() => model.quota?.sentence === 'No.');
    answer({ ...QUOTA, sentence: 'Late.' });
    await settled();

    expect(model.quota?.sentence).toBe('No.');
    expect(sent('get /quota').at(-1)).toMatchObject({ query: { team: 'ml', size: 'large' } });
    expect(model.obstacle).toBeNull();
  });

  it('keeps from sending what would never fit, and nothing else', async () => {
    quota({ large: { fits: false, never: true, sentence: 'At most 1 GPU.' } });
    const model = open();
    await until(() => model.quota !== null && model.inspection.kind === 'ready');
    expect(model.obstacle).toBeNull();

    model.set({ size: 'large' });
    await until(() => model.quota?.never === true);

    expect(model.obstacle).toBe('At most 1 GPU.');
    expect(await model.submit()).toBeNull();
    expect(sent('post /runs')).toEqual([]);
  });

  it('is nothing where no limit counts, or where nobody can say', async () => {
    answers['get /quota'] = { ...QUOTA, limits: [] };
    const model = open();
    await until(() => sent('get /quota').length > 0 && model.inspection.kind === 'ready');
    await settled();
    expect(model.quota).toBeNull();

    answers['get /quota'] = AWAY;
    model.set({ size: 'large' });
    await settled();
    expect(await model.submit()).toMatchObject({ kind: 'run' });
  });

  it('is near its end from four fifths on', () => {
    const limits = [
      { used: 7, limit: 10, sentence: 'a' },
      { used: 8, limit: 10, sentence: 'b' },
      { used: null, limit: 10, sentence: 'c' }
    ];
    expect(scarce({ ...QUOTA, limits } as never)).toEqual(['b']);
  });
});
