import { nullTranslator } from '@jupyterlab/translation';

import type { Parameter } from '../src/api/types';
import {
  changedJob,
  emptyForm,
  faultsOf,
  fieldsOf,
  formOf,
  givenOf,
  jobOf,
  placed,
  runOf,
  valuesOf,
  withGiven
} from '../src/jobs/schedule/form';
import type { IForm, Job } from '../src/jobs/schedule/form';
import { remember, remembered } from '../src/jobs/schedule/remembered';
import { controlOf, isDefault, read, typedOf } from '../src/jobs/schedule/values';
import type { IWhen } from '../src/jobs/schedule/when';
import {
  choicesOf,
  expressionOf,
  fresh,
  instantOf,
  scheduleOf,
  wallTime,
  whenOf
} from '../src/jobs/schedule/when';

const trans = nullTranslator.load('element');

function parameter(changes: Partial<Parameter> = {}): Parameter {
  return {
    name: 'x',
    kind: 'str',
    default: '',
    default_source: "''",
    optional: false,
    help: '',
    ...changes
  };
}

const typed = (text: string, none = false) => ({ text, none });

const when = (changes: Partial<IWhen> = {}): IWhen => ({ ...fresh('Europe/Zurich'), ...changes });

const form = (changes: Partial<IForm> = {}): IForm => ({ ...emptyForm('daily'), ...changes });

describe('a parameter', () => {
  it.each([
    ['int', '7', 7],
    ['int', ' -3 ', -3],
    ['float', '1', 1],
    ['float', '.5', 0.5],
    ['float', '-1e-3', -0.001],
    ['bool', 'true', true],
    ['bool', 'false', false],
    ['str', ' two words ', ' two words '],
    ['str', '3', '3'],
    ['str', '', ''],
    ['date', '2026-10-31', '2026-10-31'],
    ['datetime', '2026-10-31T09:00', '2026-10-31T09:00'],
    ['list', '[1, "two"]', [1, 'two']],
    ['dict', '{"a": {"b": null}}', { a: { b: null } }],
    ['unknown', 'plain', 'plain'],
    ['unknown', '3', 3],
    ['unknown', '"3"', '3'],
    ['unknown', 'True', true],
    ['none', 'None', null],
    ['none', '[1]', [1]],
    ['date', '{{ ds }}', '{{ ds }}'],
    ['int', '{{ run_id }}', '{{ run_id }}']
  ] as const)('of kind %s typed as %j is %j', (kind, text, value) => {
    expect(read(parameter({ kind }), typed(text), trans)).toEqual({ kind: 'value', value });
  });

  it.each([
    ['int', '1.5'],
    ['int', 'seven'],
    ['int', '12345678901234567890'],
    ['float', '1,5'],
    ['float', '1e999'],
    ['float', 'NaN'],
    ['date', '2026-13-01'],
    ['date', 'today'],
    ['datetime', '9:00'],
    ['list', '{"a": 1}'],
    ['list', '[1,'],
    ['dict', '[1]'],
    ['dict', 'null']
  ] as const)('of kind %s does not take %j, and says what it takes', (kind, text) => {
    expect(read(parameter({ kind }), typed(text), trans)).toEqual({
      kind: 'wrong',
      why: expect.stringMatching(/^(Give|Numbers) .*\.$/)
    });
  });

  it('that is emptied has the value of the notebook again, unless it is a text', () => {
    expect(read(parameter({ kind: 'int', default: 7 }), typed(''), trans).kind).toBe('default');
    expect(read(parameter({ kind: 'list', default: [] }), typed(''), trans).kind).toBe('default');
    const computed = parameter({ default: null, default_source: 'f()' });
    expect(read(computed, typed(''), trans).kind).toBe('default');
  });

  it('that may be None is None when that is ticked, and keeps its text', () => {
    const optional = parameter({ kind: 'int', default: 3, optional: true });

    expect(read(optional, typed('5', true), trans)).toEqual({ kind: 'value', value: null });
    expect(read(optional, typed('5', false), trans)).toEqual({ kind: 'value', value: 5 });
  });

  it.each([
    ['int', 7, '7', '7'],
    ['int', 1e20, '100000000000000000000', '100000000000000000000'],
    ['float', 0.5, '0.5', '0.5'],
    ['bool', true, 'True', 'true'],
    ['str', 'a', "'a'", 'a'],
    ['date', '2026-10-31', 'date(2026, 10, 31)', '2026-10-31'],
    ['list', [1, 'b'], "[1, 'b']", '[1,"b"]'],
    ['dict', { a: 1 }, "{'a': 1}", '{"a":1}'],
    ['int', null, 'random()', ''],
    ['none', null, 'None', '']
  ] as const)('of kind %s stands there with its value %j', (kind, value, source, text) => {
    const declared = parameter({ kind, default: value as never, default_source: source });

    expect(typedOf(declared)).toEqual(typed(text));
  });

  it('says that it is None', () => {
    const optional = parameter({
      kind: 'int',
      default: null,
      default_source: 'None',
      optional: true
    });

    expect(typedOf(optional)).toEqual(typed('', true));
    expect(typedOf(parameter({ kind: 'unknown' }), null)).toEqual(typed('null'));
  });

  it('comes back as what was given', () => {
    const values = ['3', 'plain', 3, true, null, [1], { a: 'b' }];
    for (const value of values) {
      const unknown = parameter({ kind: 'unknown', default: null, default_source: 'f()' });
      const back = read(unknown, typedOf(unknown, value), trans);
      expect(back).toEqual({ kind: 'value', value });
    }
  });

  it.each([
    [{ kind: 'int', default: 3 }, 'number'],
    [{ kind: 'bool', default: true }, 'switch'],
    [{ kind: 'bool', default: null, default_source: 'f()' }, 'choice'],
    [{ kind: 'bool', default: true, optional: true }, 'choice'],
    [{ kind: 'str', default: 'a' }, 'text'],
    [{ kind: 'str', default: '2026-10-31' }, 'date'],
    [{ kind: 'date', default: '2026-10-31' }, 'date'],
    [{ kind: 'datetime', default: '2026-10-31T09:00:00' }, 'datetime'],
    [{ kind: 'datetime', default: '2026-10-31T09:00:00+01:00' }, 'text'],
    [{ kind: 'list', default: [] }, 'json'],
    [{ kind: 'none', default: null }, 'any']
  ] as [Partial<Parameter>, string][])('%j gets a %s', (declared, control) => {
    expect(controlOf(parameter(declared))).toBe(control);
  });

  it('that a run fills in is typed as a text', () => {
    expect(controlOf(parameter({ kind: 'date', default: '2026-10-31' }), typed('{{ ds }}'))).toBe(
      'text'
    );
  });

  it('is compared with what the notebook has, if that is known', () => {
    expect(isDefault(parameter({ kind: 'list', default: [1] }), [1])).toBe(true);
    expect(isDefault(parameter({ default: null, default_source: 'f()' }), null)).toBe(false);
    expect(isDefault(parameter({ default: null, default_source: 'None' }), null)).toBe(true);
  });
});

describe('a schedule', () => {
  it.each([
    [{ repeat: 'hourly', time: '00:15' }, '15 * * * *'],
    [{ repeat: 'daily', time: '06:05' }, '5 6 * * *'],
    [{ repeat: 'weekdays', time: '23:00' }, '0 23 * * 1-5'],
    [{ repeat: 'weekly', time: '06:00', days: [5, 0, 1] }, '0 6 * * 0,1,5'],
    [{ repeat: 'monthly', time: '06:00', day: '31' }, '0 6 31 * *'],
    [{ repeat: 'monthly', time: '06:00', day: 'L' }, '0 6 L * *'],
    [{ repeat: 'custom', expression: ' */5 9-17 * * MON ' }, '*/5 9-17 * * MON']
  ] as [Partial<IWhen>, string][])('chosen as %j is %s, and back', (chosen, expression) => {
    expect(expressionOf(when(chosen))).toBe(expression);
    const back = when(choicesOf(expression));
    expect(back.repeat).toBe(chosen.repeat);
    expect(expressionOf(back)).toBe(expression);
  });

  it.each(['*/5 * * * *', '0 6 1 * 1', '0 6 * 3 *', '0 6,18 * * *', '@daily', 'x', ''])(
    'of another kind, %j, stays as it is written',
    expression => {
      expect(choicesOf(expression)).toEqual({ repeat: 'custom', expression });
    }
  );

  it('that is a preset is shown as what it means', () => {
    expect(choicesOf('weekdays')).toEqual({ repeat: 'weekdays', time: '06:00', days: undefined });
  });

  it('keeps its time zone, and the bounds that the dialog does not show', () => {
    const bounds = { start: '2026-01-01T00:00:00Z', end: null };
    const schedule = {
      kind: 'cron',
      expression: '0 6 * * *',
      timezone: 'Asia/Tokyo',
      ...bounds
    } as const;

    expect(scheduleOf(whenOf(schedule, 'UTC'))).toEqual(schedule);
  });

  it('of one instant is read on the clock of its time zone', () => {
    expect(scheduleOf(when({ kind: 'once', at: '2026-11-21T06:00' }))).toEqual({
      kind: 'once',
      at: '2026-11-21T05:00:00.000Z'
    });
    const back = whenOf({ kind: 'once', at: '2026-11-21T05:00:00Z' }, 'Europe/Zurich');
    expect(back.at).toBe('2026-11-21T06:00');
  });

  it.each([
    ['2026-07-01T12:00', 'America/New_York', '2026-07-01T16:00:00.000Z'],
    ['2026-10-25T02:30', 'Europe/Zurich', '2026-10-25T00:30:00.000Z'],
    ['2026-03-29T02:30', 'Europe/Zurich', '2026-03-29T01:30:00.000Z'],
    ['2026-03-29T03:30', 'Europe/Zurich', '2026-03-29T01:30:00.000Z'],
    ['2026-03-28T23:30', 'Europe/Zurich', '2026-03-28T22:30:00.000Z'],
    ['2026-01-01T00:00', 'Pacific/Kiritimati', '2025-12-31T10:00:00.000Z']
  ])('at %s in %s is at %s', (wall, zone, instant) => {
    expect(instantOf(wall, zone)).toBe(instant);
  });

  it('shows an instant as the clock does', () => {
    expect(wallTime(new Date('2026-01-01T00:00:00Z'), 'Asia/Kathmandu')).toBe('2026-01-01T05:45');
  });

  it('waits for the jobs that are named', () => {
    expect(scheduleOf(when({ kind: 'asset', jobs: [' ada/one ', '', 'ada/two'] }))).toEqual({
      kind: 'asset',
      jobs: ['ada/one', 'ada/two']
    });
  });

  it('is none for what runs now, or only when it is started', () => {
    expect(scheduleOf(when({ kind: 'now' }))).toBeNull();
    expect(scheduleOf(when({ kind: 'never' }))).toBeNull();
  });
});

const DAYS = parameter({ name: 'days', kind: 'int', default: 7, default_source: '7' });
const NAME = parameter({ name: 'name', default: 'a', default_source: "'a'" });

describe('what is sent', () => {
  it('has only the parameters that were changed', () => {
    const given = new Map([
      ['days', typed('8')],
      ['name', typed('a')]
    ]);

    expect(valuesOf(form({ given }), [DAYS, NAME], trans)).toEqual({ days: 8 });
    expect(valuesOf(form(), [DAYS, NAME], trans)).toEqual({});
  });

  it('has all that a job was given, since its notebook may have other values', () => {
    const given = new Map([['days', typed('7')]]);

    expect(valuesOf(form({ given }), [DAYS], trans, { all: true })).toEqual({ days: 7 });
  });

  it('knows no parameter by accident', () => {
    const odd = parameter({ name: 'constructor', default: 'a', default_source: "'a'" });

    expect(valuesOf(form(), [odd], trans)).toEqual({});
    expect(givenOf({}, [odd]).size).toBe(0);
    expect(givenOf(JSON.parse('{"constructor": "b"}'), [odd]).get('constructor')).toEqual(
      typed('b')
    );
  });

  const snapshot = { snapshot_id: 'f'.repeat(64), notebook: 'reports/daily.ipynb' };

  it('is a run for now', () => {
    expect(
      runOf(form({ minutes: '1.5' }), snapshot, { size: 'large', team: 'ml' }, { days: 8 }, 'a-key')
    ).toEqual({
      ...snapshot,
      parameters: { days: 8 },
      size: 'large',
      team: 'ml',
      time_limit_seconds: 90,
      trigger: 'manual',
      idempotency_key: 'a-key'
    });
  });

  it('is a job for later', () => {
    const later = form({
      when: when({ kind: 'cron', repeat: 'daily' }),
      retries: '2',
      pool: ' p '
    });

    expect(jobOf(later, snapshot, { team: 'ada', owner: 'ada', size: null }, {})).toEqual({
      team: 'ada',
      owner: 'ada',
      name: 'daily',
      snapshot_id: snapshot.snapshot_id,
      size: null,
      schedule: { kind: 'cron', expression: '0 6 * * *', timezone: 'Europe/Zurich' },
      catch_up: 'latest',
      tasks: [
        {
          notebook: 'reports/daily.ipynb',
          parameters: {},
          retries: 2,
          time_limit_seconds: null,
          pool: 'p'
        }
      ]
    });
  });

  const task: Job['tasks'][number] = {
    name: 'main',
    notebook: 'daily.ipynb',
    parameters: { days: 9 },
    inputs: {},
    needs: [],
    kernel: null,
    allow_extra_parameters: false,
    retries: 1,
    retry_delay_seconds: 30,
    time_limit_seconds: 3600,
    cell_time_limit_seconds: 5,
    pool: null
  };
  const job: Job = {
    apiVersion: 'element/v1',
    kind: 'Job',
    team: 'ada',
    name: 'daily',
    title: 'Daily',
    description: 'What it is for.',
    owner: 'ada',
    snapshot_id: '0'.repeat(64),
    environment: null,
    size: null,
    schedule: {
      kind: 'cron',
      expression: '0 6 * * 1-5',
      timezone: 'Asia/Tokyo',
      start: null,
      end: null
    },
    catch_up: 'all',
    max_active: 3,
    paused: true,
    tasks: [task]
  };

  it('is the same job when nothing was changed', () => {
    expect(changedJob(job, formOf(job), null, { days: 9 })).toEqual(job);
  });

  it('keeps of a job what the dialog does not show', () => {
    const several = { ...job, tasks: [task, { ...task, name: 'second', needs: ['main'] }] };
    const changed = changedJob(several, { ...formOf(several), retries: '9' }, null, {});

    expect(changed.tasks).toEqual(several.tasks);
    expect(changedJob(job, formOf(job), snapshot, {})).toMatchObject({
      ...snapshotOf(snapshot),
      max_active: 3,
      tasks: [{ notebook: 'reports/daily.ipynb', cell_time_limit_seconds: 5 }]
    });
  });

  const snapshotOf = ({ snapshot_id }: { snapshot_id: string }) => ({ snapshot_id });

  it('can have a value that the notebook does not declare', () => {
    const parameters = withGiven([DAYS], { days: 1, extra: 'x', more: [1] });

    expect(parameters.map(({ name, kind }) => [name, kind])).toEqual([
      ['days', 'int'],
      ['extra', 'str'],
      ['more', 'list']
    ]);
  });
});

describe('what is wrong', () => {
  const fields = (changes: Partial<IForm>, parameters: Parameter[] = []) => [
    ...faultsOf(form(changes), parameters, trans).keys()
  ];

  it('is nothing when the dialog opens', () => {
    expect(fields({}, [DAYS, NAME])).toEqual([]);
    expect(fields({ when: when({ kind: 'cron' }) })).toEqual([]);
    expect(fields({ when: when({ kind: 'once' }) })).toEqual([]);
  });

  it('is said at its field', () => {
    const cron = (changes: Partial<IWhen>) => ({ when: when({ kind: 'cron', ...changes }) });

    expect(fields({ ...cron({}), name: 'Not This' })).toEqual(['name']);
    expect(fields({ ...cron({}), retries: '-1' })).toEqual(['retries']);
    expect(fields(cron({ timezone: 'Mars/Base' }))).toEqual(['schedule.timezone']);
    expect(fields(cron({ repeat: 'weekly', days: [] }))).toEqual(['schedule.days']);
    expect(fields(cron({ repeat: 'custom', expression: ' ' }))).toEqual(['schedule.expression']);
    expect(fields(cron({ repeat: 'daily', time: '' }))).toEqual(['schedule.time']);
    expect(fields({ when: when({ kind: 'once', at: '' }) })).toEqual(['schedule.at']);
    expect(fields({ when: when({ kind: 'asset' }) })).toEqual(['schedule.jobs.0']);
    expect(fields({ minutes: 'long' })).toEqual(['time_limit_seconds']);
    expect(fields({ given: new Map([['days', typed('x')]]) }, [DAYS])).toEqual(['parameters.days']);
  });

  it('has a field only for what is on the screen', () => {
    const cron = form({ when: when({ kind: 'cron' }) });

    expect(fieldsOf(form(), [DAYS], null)).toEqual(
      new Set(['parameters.days', 'time_limit_seconds'])
    );
    expect([...fieldsOf(cron, [], null)]).toEqual(
      expect.arrayContaining(['name', 'retries', 'pool', 'schedule.time', 'schedule.timezone'])
    );
    const several = { tasks: [{}, {}] } as Job;
    expect(fieldsOf(cron, [], several)).toEqual(new Set(['schedule.time', 'schedule.timezone']));
  });

  it('does not count where it is not on the screen', () => {
    expect(fields({ name: 'Not This', retries: 'x' })).toEqual([]);
  });

  it('goes to the field that the server means, without its name', () => {
    const problem = {
      code: 'invalid',
      message: "tasks.0.parameters.days: parameter 'days' is a whole number.",
      hint: 'Give one.',
      field: 'tasks.0.parameters.days',
      details: ''
    };

    expect(placed(problem)).toEqual({
      field: 'parameters.days',
      why: "Parameter 'days' is a whole number. Give one."
    });
    expect(placed({ ...problem, field: null })).toMatchObject({ field: '' });
  });
});

describe('the parameters used last', () => {
  const kept = new Map<string, unknown>();
  const state = {
    fetch: async (id: string) => kept.get(id),
    save: async (id: string, value: unknown) => void kept.set(id, value)
  } as never;

  it('come back for the same notebook only', async () => {
    await remember(state, 'a.ipynb', { parameters: { days: 3 }, size: 'large', team: 'ml' });
    await remember(state, 'd.ipynb', { size: null });

    expect(await remembered(state, 'a.ipynb')).toEqual({
      values: { days: 3 },
      size: 'large',
      team: 'ml'
    });
    for (const path of ['b.ipynb', 'd.ipynb']) {
      expect(await remembered(state, path)).toEqual({ values: {} });
    }
    expect(await remembered(null, 'a.ipynb')).toEqual({ values: {} });
  });

  it('are none when what is kept makes no sense', async () => {
    for (const sick of ['x', null, { values: 3 }, { values: [1] }]) {
      kept.set('element-jobs:parameters:c.ipynb', sick);
      expect(await remembered(state, 'c.ipynb')).toEqual({ values: {} });
    }
  });
});
