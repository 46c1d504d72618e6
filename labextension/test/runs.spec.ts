/** @jest-environment jsdom */
import { nullTranslator } from '@jupyterlab/translation';
import * as React from 'react';
import { renderToStaticMarkup } from 'react-dom/server';

import type { Run } from '../src/api/types';
import { RunCells } from '../src/runs/cells';
import { toDebug } from '../src/runs/copies';
import type { RunEvent } from '../src/runs/events';
import { rowsOf } from '../src/runs/files';
import { RunLog } from '../src/runs/log';
import type { IActions } from '../src/runs/head';
import { Head } from '../src/runs/head';
import { RunModel } from '../src/runs/model';
import { againOf, comparable, differences, othersOf, pastOf } from '../src/runs/past';
import { lasted, usualSeconds } from '../src/runs/words';
import type { IElementClient } from '../src/tokens';

const trans = nullTranslator.load('element');
const AT = '2026-11-20T12:00:00Z';

let sequence = 0;
let cells: RunCells;

beforeEach(() => {
  sequence = 0;
  cells = new RunCells();
});

type Told = { [K in RunEvent['kind']]: Omit<Extract<RunEvent, { kind: K }>, 'sequence' | 'at'> };

function event(told: Told[keyof Told]): RunEvent {
  return { sequence: ++sequence, at: AT, ...told } as RunEvent;
}

const began = (total = 3) =>
  event({
    kind: 'run_started',
    run_id: 'r',
    cells_total: total,
    kernel: 'python3',
    pid: 1,
    pin: null
  });
const cell = (index: number) =>
  event({ kind: 'cell_started', index, cell_id: `c${index}`, first_line: `line ${index}` });
const ended = (index: number, ok = true) =>
  event({
    kind: 'cell_finished',
    index,
    cell_id: '',
    ok,
    duration_seconds: 1.25,
    cpu_seconds: null,
    peak_memory_bytes: null
  });
const out = (index: number, output: Record<string, unknown>, truncated = false) =>
  event({ kind: 'output', index, cell_id: '', output: output as never, truncated });
const text = (index: number, said: string, name = 'stdout') =>
  out(index, { output_type: 'stream', name, text: said });
const plot = (index: number, said: string, id?: string) =>
  out(index, {
    output_type: 'display_data',
    data: { 'text/plain': said },
    metadata: {},
    ...(id ? { transient: { display_id: id } } : {})
  });
const finished = (state: 'succeeded' | 'failed' | 'stopped') =>
  event({
    kind: 'run_finished',
    state,
    reason: '',
    failing_cell: null,
    duration_seconds: 2,
    cpu_seconds: null,
    peak_memory_bytes: null,
    output_path: '/o.ipynb',
    artifacts: [],
    recorded: {}
  });

function notebook(...sources: string[]) {
  return {
    nbformat: 4,
    nbformat_minor: 5,
    metadata: { language_info: { name: 'python' } },
    cells: sources.map(source => ({
      cell_type: 'code' as const,
      source,
      metadata: {},
      outputs: [],
      execution_count: null
    }))
  };
}

function take(...events: RunEvent[]): void {
  events.forEach(each => cells.take(each));
}

/** What each cell has said. */
const said = () =>
  cells.cells.map(({ outputs }) =>
    outputs.map(
      ({ text: stream, data }) => stream ?? (data as Record<string, unknown>)['text/plain']
    )
  );

describe('the cells of a run', () => {
  it('show what they print, joined as it came', () => {
    take(began(), cell(1), text(1, 'a'), text(1, 'b\n'), text(1, '!', 'stderr'), text(1, 'c'));

    expect(said()).toEqual([[], ['ab\n', '!', 'c']]);
    expect(cells.current?.firstLine).toBe('line 1');
  });

  it('count those that were executed', () => {
    take(began(3), cell(0), ended(0), cell(2), ended(2, false));

    expect([cells.done, cells.total, cells.current]).toEqual([2, 3, null]);
    expect(cells.cells.map(({ state }) => state)).toEqual(['done', 'waiting', 'failed']);
    expect(cells.cells[2].seconds).toBe(1.25);
  });

  it('take each event once, however often a stream is taken up again', () => {
    const events = [began(), cell(0), text(0, 'once')];
    take(...events, ...events, text(0, ' and more'), ...events.slice(1));

    expect(said()).toEqual([['once and more']]);
    expect(cells.last).toBe(4);
    expect(cells.take(events[2])).toBe(false);
  });

  it('go on in the middle of a text that was joined meanwhile', () => {
    take(began(), cell(0), text(0, 'one '));
    sequence += 5;
    take(text(0, 'two three'));

    expect(said()).toEqual([['one two three']]);
  });

  it('are cleared at once when they ask for it', () => {
    take(cell(0), text(0, 'old'), out(0, { output_type: 'clear_output', wait: false }));

    expect(said()).toEqual([[]]);
  });

  it('are cleared by the next output when they ask to wait', () => {
    take(cell(0), plot(0, '10 %'), out(0, { output_type: 'clear_output', wait: true }));
    expect(said()).toEqual([['10 %']]);

    take(plot(0, '20 %'), plot(0, 'more'));
    expect(said()).toEqual([['20 %', 'more']]);
  });

  it('do not join a text to what was cleared', () => {
    take(cell(0), text(0, '1'), out(0, { output_type: 'clear_output', wait: true }), text(0, '2'));

    expect(said()).toEqual([['2']]);
  });

  it('show the newest of what is updated, in every place that displays it', () => {
    take(cell(0), plot(0, 'a', 'd-1'), plot(0, 'b', 'd-2'), ended(0));
    take(cell(1), plot(1, 'a again', 'd-1'));
    take(
      out(1, {
        output_type: 'update_display_data',
        data: { 'text/plain': 'new' },
        metadata: {},
        transient: { display_id: 'd-1' }
      })
    );

    expect(said()).toEqual([['new', 'b'], ['new']]);
  });

  it('pass over an update of what was never displayed, or was cleared', () => {
    const update = {
      output_type: 'update_display_data',
      data: { 'text/plain': 'new' },
      metadata: {},
      transient: { display_id: 'd-1' }
    };
    take(cell(0), out(0, update));
    expect(said()).toEqual([[]]);

    take(plot(0, 'a', 'd-1'), out(0, { output_type: 'clear_output' }), out(0, update));
    expect(said()).toEqual([[]]);
  });

  it('keep the outputs that do not change, so that they are not drawn anew', () => {
    take(cell(0), plot(0, 'a'), text(0, 'x'));
    const [first] = cells.cells[0].outputs;
    take(text(0, 'y'));

    expect(cells.cells[0].outputs[0]).toBe(first);
  });

  it('begin anew when a second attempt begins', () => {
    take(began(2), cell(0), text(0, 'first try'), ended(0, false));
    take(began(2), cell(0), text(0, 'second try'));

    expect(said()).toEqual([['second try']]);
    expect([cells.done, cells.cells[0].state]).toEqual([0, 'running']);
  });

  it('that are interrupted are not said to have failed', () => {
    take(began(), cell(0), ended(0, false), finished('stopped'));

    expect(cells.cells[0].state).toBe('stopped');
  });

  it('do not run for ever when the run is lost', () => {
    take(began(), cell(0));
    take(event({ kind: 'state_changed', state: 'lost', reason: 'gone', queue_position: null }));

    expect([cells.current, cells.cells[0].state]).toEqual([null, 'stopped']);
  });

  it('tell what has changed, once', () => {
    take(began(), cell(0), text(0, 'a'), ended(0), cell(3));

    expect(cells.changes()).toEqual(new Set([0, 1, 2, 3]));
    expect(cells.changes()).toEqual(new Set());
    take(text(3, 'a'));
    expect(cells.changes()).toEqual(new Set([3]));
  });

  it('say when something was too large to be told', () => {
    take(cell(0), out(0, { output_type: 'display_data', data: {}, metadata: {} }, true));

    expect(cells.cells[0].shortened).toBe(true);
  });
});

describe('the notebook of a run', () => {
  it('gives the sources, while the events go on giving the outputs', () => {
    take(began(), cell(0), text(0, 'newer than the file'));

    cells.settle(notebook('print(1)', 'print(2)'), false);
    take(text(0, '!'));

    expect(cells.cells.map(({ source }) => source)).toEqual(['print(1)', 'print(2)']);
    expect(said()).toEqual([['newer than the file!'], []]);
    expect(cells.changes()).toBe('all');
  });

  it('gives everything once it was written at the end', () => {
    take(began(), cell(0), out(0, { output_type: 'stream', name: 'stdout', text: 'beg' }, true));
    const document = notebook('print(1)');
    const outputs = [
      { output_type: 'stream', name: 'stdout', text: ['beginning ', 'and '] },
      { output_type: 'stream', name: 'stdout', text: 'end' }
    ];
    Object.assign(document.cells[0], { outputs, execution_count: 1 });

    cells.settle(document as never, true);
    take(text(0, 'late'), ended(0));

    expect(said()).toEqual([['beginning and end']]);
    expect(cells.cells[0]).toMatchObject({ executionCount: 1, shortened: false, state: 'done' });
  });

  it('leaves what is drawn already as it is', () => {
    take(began(), cell(0), plot(0, 'a', 'd-1'));
    const [drawn] = cells.cells[0].outputs;
    const document = notebook('plot()');
    const outputs = [{ metadata: {}, data: { 'text/plain': 'a' }, output_type: 'display_data' }];
    Object.assign(document.cells[0], { outputs });

    cells.settle(document as never, true);

    expect(cells.cells[0].outputs[0]).toBe(drawn);
  });

  it('says how the cells went when nothing else does', () => {
    const document = notebook('1', '2', '3');
    const papermill = (status: string, exception: boolean) => ({
      metadata: { papermill: { status, exception, duration: 0.5 } },
      execution_count: 1
    });
    Object.assign(document.cells[0], papermill('completed', false));
    Object.assign(document.cells[1], papermill('failed', true));

    cells.settle(document as never, true);

    expect(cells.cells.map(({ state }) => state)).toEqual(['done', 'failed', 'waiting']);
  });
});

describe('the log of a run', () => {
  it('has everything that is told, a line each', () => {
    const log = new RunLog(trans);
    [
      began(2),
      cell(0),
      text(0, 'one\ntw'),
      text(0, 'o\n'),
      text(0, '10 %\r20 %'),
      text(0, '\r30 %\n\u001b[31mred\u001b[0m'),
      ended(0),
      event({ kind: 'note', level: 'warning', message: 'Disk is full.' }),
      event({ kind: 'recorded', name: 'score', value: 0.5 }),
      finished('succeeded')
    ].forEach(each => log.take(each));

    expect(log.lines.map(({ text: line }) => line)).toEqual([
      'Running. 2 cells, kernel python3',
      'Cell 1: line 0',
      'one',
      'two',
      '30 %',
      'red',
      'Cell 1 ended after 1.2 s',
      'Disk is full.',
      'Recorded: score = 0.5',
      'Succeeded'
    ]);
    expect(log.moments.map(({ word }) => word)).toEqual(['Running', 'Succeeded']);
  });
});

function run(changes: Partial<Run> = {}): Run {
  return {
    run_id: 'r-1',
    state: 'failed',
    reason: '',
    job: null,
    job_version: null,
    task: 'main',
    team: 'ann',
    owner: 'ann',
    notebook: 'work/daily.ipynb',
    snapshot_id: 'a'.repeat(64),
    parameters: {},
    allow_extra_parameters: false,
    kernel: 'python3',
    environment: null,
    environment_id: null,
    lock_id: null,
    definition: null,
    python: null,
    size: null,
    time_limit_seconds: 60,
    cell_time_limit_seconds: null,
    trigger: 'manual',
    logical_date: null,
    dag_run_id: null,
    attempt: 1,
    created_at: AT,
    started_at: AT,
    finished_at: '2026-11-20T12:01:00Z',
    stop_requested_at: null,
    queue_position: null,
    cells_done: 0,
    cells_total: null,
    failing_cell: null,
    recorded: {},
    artifacts: [],
    output_path: null,
    cpu_seconds: null,
    peak_memory_bytes: null,
    ...changes
  } as Run;
}

describe('what went before', () => {
  it('is compared by code, environment and parameters', () => {
    const last = run({ state: 'succeeded', parameters: { n: 1, gone: true } });
    const now = run({ snapshot_id: 'b'.repeat(64), parameters: { n: 2 } });

    const found = differences(now, last, ['daily.ipynb'], trans);

    expect(found.map(({ changed }) => changed)).toEqual([true, false, false, true]);
    expect(found[0].lines).toEqual(['daily.ipynb']);
    expect(found[3].lines).toEqual(['n: 1, now 2', 'gone: true, now not given']);
  });

  it('tells code from data, and either when the project is not kept any more', () => {
    const last = run({ state: 'succeeded' });
    const now = run({ snapshot_id: 'b'.repeat(64) });
    const files = [
      'lib/clean.py',
      'requirements-dev.txt',
      '.elementignore',
      'data/sales.csv',
      'a.txt'
    ];

    const [code, data] = differences(now, last, files, trans);
    const unknown = differences(now, last, null, trans);
    const same = differences(last, last, [], trans);

    expect(code.lines).toEqual(files.slice(0, 3));
    expect(data.lines).toEqual(files.slice(3));
    expect(unknown.slice(0, 2).map(({ changed }) => changed)).toEqual([true, true]);
    expect(same.some(({ changed }) => changed)).toBe(false);
  });

  it('has the attempts of the same task of the same DAG run, in order', async () => {
    const of = { job: 'ann/etl', dag_run_id: 'scheduled__1', logical_date: AT };
    const second = run({ ...of, run_id: 'r-2', attempt: 2, created_at: '2026-11-20T12:05:00Z' });
    const first = run({ ...of, run_id: 'r-1', created_at: '2026-11-20T12:00:00Z' });
    const others = [
      run({ ...of, run_id: 'r-3', task: 'report' }),
      run({ ...of, run_id: 'r-4', dag_run_id: 'manual__1' })
    ];
    const asked: unknown[] = [];
    const client = {
      call: async (_: string, __: string, { query }: { query: { state?: string } }) => {
        asked.push(query);
        return { items: query.state ? [] : [second, ...others, first], next_cursor: null };
      }
    } as unknown as IElementClient;

    const { attempts } = await pastOf(client, second);

    expect(attempts.map(({ run_id, attempt }) => [run_id, attempt])).toEqual([
      ['r-1', 1],
      ['r-2', 2]
    ]);
    expect(asked).toContainEqual({ job: 'ann/etl', logical_date: AT, limit: 200 });
  });

  it('offers others to compare with, the last success before all', async () => {
    const others = [
      run({ run_id: 'r-5', state: 'failed' }),
      run({ run_id: 'r-4', notebook: 'another.ipynb', state: 'succeeded' }),
      run({ run_id: 'r-3', state: 'stopped' }),
      run({ run_id: 'r-2', state: 'succeeded' }),
      run({ run_id: 'r-1', state: 'succeeded' })
    ];
    const client = { call: async () => ({ items: others }) } as unknown as IElementClient;

    const offered = await othersOf(client, others[2]);

    expect(offered.map(({ run_id }) => run_id)).toEqual(['r-2', 'r-5', 'r-1']);
    expect(comparable(run({ run_id: 'b', created_at: '2026-11-21T00:00:00Z' }), run({}))).toEqual({
      first: run({}).run_id,
      second: 'b'
    });
  });

  it('tells how long it usually takes, or nothing', () => {
    const took = (seconds: number) =>
      run({ state: 'succeeded', finished_at: new Date(Date.parse(AT) + seconds * 1000).toJSON() });

    expect(usualSeconds([took(10), took(500), took(20)])).toBe(20);
    expect(usualSeconds([])).toBeNull();
    expect([lasted(1.26, trans), lasted(59.9, trans), lasted(3725, trans)]).toEqual([
      '1.2 s',
      '59 s',
      '1 h 2 min'
    ]);
  });

  it('can be repeated with the same files and parameters', () => {
    const again = againOf(run({ parameters: { n: 1 }, team: 'ml' }));

    expect(again).toMatchObject({
      notebook: 'work/daily.ipynb',
      snapshot_id: 'a'.repeat(64),
      parameters: { n: 1 },
      team: 'ml',
      kernel: 'python3',
      trigger: 'manual'
    });
    expect(againOf(run({ job: 'ann/daily', job_version: 3 }))).not.toHaveProperty('snapshot_id');
  });
});

describe('a run that is to stop', () => {
  const asked = Date.parse(AT);

  beforeEach(() => jest.useFakeTimers());
  afterEach(() => jest.useRealTimers());

  it('is said to be slow after ten seconds, until it has stopped', async () => {
    const stopping = run({ state: 'running', cells_total: 2, stop_requested_at: AT });
    const client = {
      call: async (_: string, path: string) =>
        path === '/runs/{run_id}' ? stopping : { items: [], next_cursor: null, admin: true },
      follow: async function* () {}
    } as unknown as IElementClient;
    const model = new RunModel(client, stopping.run_id, trans);
    const said = (seconds: number) => {
      jest.setSystemTime(asked + seconds * 1000);
      return renderToStaticMarkup(
        React.createElement(Head, { model, actions: {} as IActions, trans })
      );
    };

    jest.setSystemTime(asked);
    model.look(true);
    await jest.advanceTimersByTimeAsync(100);

    expect(said(9)).toContain('Stopping…');
    expect(said(9)).not.toContain('still being interrupted');
    expect(said(10)).toContain('The cell is still being interrupted.');
    Object.assign(stopping, { state: 'stopped', finished_at: AT });
    expect(said(20)).not.toContain('still being interrupted');
    model.dispose();
  });
});

describe('a notebook to debug', () => {
  it('has the environment of the original, and nothing that makes it trusted', () => {
    const document = notebook('1 / 0');
    Object.assign(document.metadata, {
      papermill: { duration: 1 },
      element: { run_id: 'r-1', environment: { name: 'science' } },
      kernelspec: { name: 'python3', display_name: 'Python 3' }
    });
    Object.assign(document.cells[0].metadata, { trusted: true, papermill: {}, tags: ['x'] });

    const made = toDebug(document, run());

    expect(made.metadata).toEqual({
      language_info: { name: 'python' },
      kernelspec: { name: 'python3', display_name: 'Python 3' },
      element: { environment: { name: 'science' } }
    });
    expect(made.cells[0].metadata).toEqual({ tags: ['x'] });
  });

  it('is told the environment that the run was told, as seen from where it lies', () => {
    const pointers = ['envs/gpu', 'science', null].map(environment => {
      const made = toDebug(notebook('1'), run({ environment }));
      return (made.metadata.element as { environment?: string } | undefined)?.environment;
    });

    expect(pointers).toEqual(['../envs/gpu', 'science', undefined]);
  });
});

describe('a table among the files', () => {
  it('is read with its quotes', () => {
    expect(rowsOf('a,b\r\n"x, ""y""\nz",2\n', ',')).toEqual([
      ['a', 'b'],
      ['x, "y"\nz', '2']
    ]);
  });
});
