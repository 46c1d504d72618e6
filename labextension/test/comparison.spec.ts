/** @jest-environment jsdom */
import { ElementProblem } from '../src/api/client';
import type { ICell } from '../src/runs/cells';
import { RunCells } from '../src/runs/cells';
import { changesOf, paired, valueOf, valuesOf } from '../src/runs/compare/comparison';
import { ComparisonModel } from '../src/runs/compare/model';
import type { IElementClient } from '../src/tokens';

type Source = string | { source: string; id?: string; tags?: string[]; said?: string };

/** The cells of an executed notebook, each with a text that it has said. */
function executed(...sources: Source[]): readonly ICell[] {
  const cells = new RunCells();
  cells.settle(notebook(...sources), true);
  return cells.cells;
}

function notebook(...sources: Source[]) {
  return {
    nbformat: 4,
    nbformat_minor: 5,
    metadata: {},
    cells: sources
      .map(each => (typeof each === 'string' ? { source: each } : each))
      .map(({ source, id, tags, said }, at) => ({
        cell_type: 'code' as const,
        id,
        source,
        metadata: { tags, papermill: { status: 'completed', duration: at } } as never,
        outputs: said
          ? [{ output_type: 'execute_result', data: { 'text/plain': said }, execution_count: at }]
          : [],
        execution_count: at + 1
      }))
  };
}

/** The sources that stand beside each other. */
const beside = (first: readonly ICell[], second: readonly ICell[]) =>
  paired(first, second).map(pair => [pair.first?.source ?? null, pair.second?.source ?? null]);

describe('the cells of two runs', () => {
  it('are the same by their ids, whatever is in them', () => {
    const first = executed({ id: 'a', source: 'x = 1' }, { id: 'b', source: 'y' });
    const second = executed({ id: 'b', source: 'y' }, { id: 'a', source: 'x = 2' });

    expect(beside(first, second)).toEqual([
      ['x = 1', 'x = 2'],
      ['y', 'y']
    ]);
  });

  it('are the same by their sources where their ids say nothing', () => {
    const first = executed({ id: 'a', source: 'x' }, 'twice', 'twice');
    const second = executed('twice', { id: 'c', source: 'x' }, 'twice');

    expect(beside(first, second)).toEqual([
      ['x', 'x'],
      ['twice', 'twice'],
      ['twice', 'twice']
    ]);
  });

  it('are shown once each, where they were, when only one run has them', () => {
    const first = executed('start', 'gone', 'end');
    const second = executed('before', 'start', 'new', 'newer', 'end');

    expect(beside(first, second)).toEqual([
      [null, 'before'],
      ['start', 'start'],
      [null, 'new'],
      [null, 'newer'],
      ['gone', null],
      ['end', 'end']
    ]);
    expect(paired(first, second).map(pair => changesOf(pair).standing)).toEqual([
      'second',
      'same',
      'second',
      'second',
      'first',
      'same'
    ]);
  });

  it('have the parameters that each run was given beside each other', () => {
    const injected = (source: string, id: string) => ({
      source,
      id,
      tags: ['injected-parameters']
    });
    const first = executed(injected('n = 1', 'f1'), 'print(n)');
    const second = executed(injected('n = 2', 'f2'), 'print(n)');

    expect(beside(first, second)[0]).toEqual(['n = 1', 'n = 2']);
  });

  it('differ by their code and by what they gave, not by how many were executed before', () => {
    const first = executed(
      { id: 'a', source: '1', said: '1' },
      { id: 'b', source: '2', said: '2' }
    );
    const second = executed(
      { id: 'b', source: '2', said: '2' },
      { id: 'a', source: '3', said: '3' }
    );
    const silent = executed({ id: 'a', source: '1' }, { id: 'b', source: '2', said: '2' });

    const changes = (one: readonly ICell[], other: readonly ICell[]) =>
      paired(one, other).map(changesOf);

    expect(changes(first, second)).toEqual([
      { standing: 'changed', source: true, outputs: true },
      { standing: 'same', source: false, outputs: false }
    ]);
    expect(changes(first, silent)[0]).toEqual({
      standing: 'changed',
      source: false,
      outputs: true
    });
  });

  it('are compared in a moment, however many there are', () => {
    const many = Array.from({ length: 2_000 }, (_, at) => `cell ${at}`);
    const began = performance.now();

    expect(beside(executed(...many), executed(...many.map(each => `${each}!`)))).toHaveLength(
      4_000
    );
    expect(performance.now() - began).toBeLessThan(2_000);
  });
});

describe('the values of two runs', () => {
  it('say by how much a number differs, and which share that is', () => {
    const [worse] = valuesOf({ loss: 0.5 }, { loss: 0.75 });

    expect(worse).toEqual({
      name: 'loss',
      first: '0.5',
      second: '0.75',
      standing: 'changed',
      by: 0.25,
      share: 0.5
    });
    expect(valueOf('n', -4, -2)).toMatchObject({ by: 2, share: 0.5 });
    expect(valueOf('n', 0, 3)).toMatchObject({ by: 3, share: null });
    expect(valueOf('n', 3, '3')).toMatchObject({ standing: 'changed', by: null });
  });

  it('come with those first that differ, and say where one is missing', () => {
    const found = valuesOf({ a: 1, gone: null, b: [1, 2] }, { a: 1, b: [1, 3], there: '' });

    expect(found.map(({ name, standing }) => [name, standing])).toEqual([
      ['gone', 'first'],
      ['b', 'changed'],
      ['there', 'second'],
      ['a', 'same']
    ]);
  });

  it('are looked for inside of objects', () => {
    const found = valuesOf({ eval: { rate: 0.1, by: { day: 1 } } }, { eval: { rate: 0.2 } });

    expect(found.map(({ name, standing }) => [name, standing])).toEqual([
      ['eval.rate', 'changed'],
      ['eval.by.day', 'first']
    ]);
  });
});

describe('ComparisonModel', () => {
  const missing = new ElementProblem(404, {
    code: 'not-found',
    message: 'There is no run r-2.',
    hint: '',
    field: null,
    details: ''
  });
  const down = new ElementProblem(503, { ...missing.problem, code: 'unavailable' });
  let answer: (path: string, id: string) => unknown;

  const client = {
    call: async (_: string, path: string, { path: values }: { path: { run_id: string } }) =>
      answer(path, values.run_id)
  } as unknown as IElementClient;

  const run = (id: string) => ({
    run_id: id,
    state: 'succeeded',
    output_path: '/o.ipynb',
    parameters: {}
  });

  it('has both runs and their cells beside each other', async () => {
    answer = (path, id) => (path.endsWith('notebook') ? notebook('same', id) : run(id));
    const model = new ComparisonModel(client, 'r-1', 'r-2');
    expect(model.state.kind).toBe('loading');

    await model.refresh();

    expect(model.state).toMatchObject({ first: { run: run('r-1') }, second: { run: run('r-2') } });
    expect(model.state.kind === 'ready' && model.state.pairs).toHaveLength(3);
  });

  it('shows what comes of a run that goes on, and its end', async () => {
    let state = 'running';
    answer = (path, id) =>
      path.endsWith('notebook')
        ? notebook({ source: '1', id: 'a', said: id === 'r-1' || state !== 'running' ? '1' : '' })
        : { ...run(id), state: id === 'r-2' ? state : 'succeeded' };
    const told: ((event: object | null) => void)[] = [];
    const live = {
      ...client,
      follow: async function* () {
        for (let sequence = 1; ; sequence += 1) {
          const event = await new Promise<object | null>(resolve => told.push(resolve));
          if (event === null) {
            return;
          }
          yield { sequence, index: 0, ...event };
        }
      }
    } as unknown as IElementClient;
    const model = new ComparisonModel(live, 'r-1', 'r-2');
    const said = () =>
      model.state.kind === 'ready' ? model.state.second.cells?.[0].outputs.length : null;
    await model.refresh();
    expect(said()).toBe(0);
    const output = { output_type: 'stream', name: 'stdout', text: 'now' };

    await told[0]({ kind: 'output', output, truncated: false });
    while (said() !== 1) {
      await new Promise(resolve => setTimeout(resolve));
    }
    state = 'succeeded';
    told[1](null);
    while (model.state.kind !== 'ready' || model.state.second.run.state !== 'succeeded') {
      await new Promise(resolve => setTimeout(resolve));
    }

    expect(model.state.pairs.map(pair => changesOf(pair).standing)).toEqual(['same']);
    model.dispose();
  });

  it('says when one of them is not there, or nothing can be asked', async () => {
    answer = (_, id) => {
      throw id === 'r-2' ? missing : down;
    };
    const model = new ComparisonModel(client, 'r-2', 'r-2');

    await model.refresh();

    expect(model.state).toEqual({ kind: 'missing', problem: missing.problem });
    const other = new ComparisonModel(client, 'r-1', 'r-1');
    await other.refresh();
    expect(other.state).toEqual({ kind: 'failed', problem: down.problem });
  });

  it('compares what there is when a notebook is no longer kept', async () => {
    answer = (path, id) => {
      if (path.endsWith('notebook')) {
        throw missing;
      }
      return run(id);
    };
    const model = new ComparisonModel(client, 'r-1', 'r-2');

    await model.refresh();

    expect(model.state).toMatchObject({ kind: 'ready', first: { cells: null }, pairs: [] });
  });

  it('keeps what it knew when the platform goes away', async () => {
    answer = (path, id) => (path.endsWith('notebook') ? notebook('same') : run(id));
    const model = new ComparisonModel(client, 'r-1', 'r-2');
    await model.refresh();
    answer = () => {
      throw down;
    };

    await model.refresh();

    expect(model.state).toMatchObject({ kind: 'ready', stale: down.problem });
  });
});
