/** @jest-environment jsdom */
import { nullTranslator } from '@jupyterlab/translation';

import { ElementProblem } from '../src/api/client';
import type { BuildEvent, NotebookEnvironment } from '../src/api/types';
import { EnvironmentModel, QUIET } from '../src/environments/model';
import { detailsOf, nameOf, wordFor } from '../src/environments/words';
import type { IElementClient } from '../src/tokens';

const trans = nullTranslator.load('element');

const NEW = `py-${'1'.repeat(32)}`;
const OLD = `py-${'0'.repeat(32)}`;
const KERNEL = { id: 'k-1', name: 'python3', displayName: 'Python 3' };

function environment(changes: Partial<NotebookEnvironment> = {}): NotebookEnvironment {
  return {
    state: 'ready',
    definition: {
      kind: 'requirements',
      path: 'work/requirements.txt',
      name: null,
      why: 'It is the closest to the notebook.',
      entry: 'requirements.txt',
      lock_path: null,
      files: { 'work/requirements.txt': 'f'.repeat(64) },
      meaning: 'e'.repeat(64),
      python: '',
      python_from: '',
      requirements: [],
      extras: [],
      groups: [],
      variant: null,
      variants: [],
      origins: []
    },
    ignored: [],
    notices: [],
    build_id: 'b-1',
    environment_id: NEW,
    lock_id: null,
    python: '3.11.7',
    packages: 44,
    kernel_environment_id: NEW,
    failure: null,
    ...changes
  };
}

const FAILURE: NotebookEnvironment['failure'] = {
  code: 'no_solution',
  title: 'Two requirements contradict each other',
  summary: 'a wants c<2, and b wants c>=2.',
  hints: [],
  culprits: [],
  origins: [],
  tool_output: '',
  retryable: false
};

let sequence = 0;

function event(phase: BuildEvent['phase'], changes: Partial<BuildEvent> = {}): BuildEvent {
  return {
    sequence: ++sequence,
    at: '2026-11-20T12:00:00Z',
    phase,
    done: null,
    total: null,
    message: '',
    environment_id: null,
    lock_id: null,
    failure: null,
    ...changes
  };
}

/** A server: what it says of the notebook, and a build that tells what it is given. */
class Server implements IElementClient {
  says: NotebookEnvironment | Error = environment();
  asked: string[] = [];

  call = async (verb: string, path: string): Promise<never> => {
    this.asked.push(`${verb} ${path}`);
    const answer = path === '/environments/of' ? this.says : { build_id: 'b-1', file: 'r.txt' };
    if (answer instanceof Error) {
      throw answer;
    }
    return answer as never;
  };

  async *follow(_path: string, { signal }: { signal: AbortSignal }): AsyncGenerator<never, void> {
    this.asked.push('follow');
    while (!signal.aborted) {
      const next = await new Promise<BuildEvent | null>(resolve => {
        this._next = resolve;
        signal.addEventListener('abort', () => resolve(null));
        this._awaited();
      });
      if (next === null) {
        return;
      }
      yield next as never;
    }
  }

  /** Tell those who follow; null is the end. */
  async tell(told: BuildEvent | null): Promise<void> {
    await this._asks;
    this._asks = new Promise(resolve => (this._awaited = resolve));
    this._next(told);
    await settled();
  }

  private _next: (event: BuildEvent | null) => void = () => undefined;
  private _awaited: () => void = () => undefined;
  private _asks = new Promise<void>(resolve => (this._awaited = resolve));
}

/** Everything that is under way has been done. */
const settled = () => new Promise(resolve => setTimeout(resolve, 0));

let server: Server;
let model: EnvironmentModel;

const word = () =>
  model.standing && wordFor(model.standing, model.build?.running ? model.build.last : null, trans);

beforeEach(() => {
  server = new Server();
  model = new EnvironmentModel(server, 'work/a.ipynb');
});

afterEach(() => {
  model.dispose();
  jest.useRealTimers();
  jest.restoreAllMocks();
});

describe('the environment of a notebook', () => {
  it('is ready when its kernel runs what the definition gives', async () => {
    await model.setKernel(KERNEL);

    expect(word()).toBe('ready');
  });

  it('says nothing before the server has', () => {
    expect(model.state).toEqual({ kind: 'loading' });
    expect(model.standing).toBeNull();
  });

  it('has changed when the kernel runs another one, which is told once', async () => {
    const told: string[] = [];
    model.outdated.connect((_, id) => told.push(id));
    server.says = environment({ kernel_environment_id: OLD });

    await model.setKernel(KERNEL);
    await model.refresh();

    expect(word()).toBe('changed: restart to update');
    expect(told).toEqual([NEW]);
  });

  it('has changed, but offers nothing yet, while the new one is not built', async () => {
    const told: string[] = [];
    model.outdated.connect((_, id) => told.push(id));
    server.says = environment({
      state: 'missing',
      environment_id: null,
      kernel_environment_id: OLD
    });

    await model.setKernel(KERNEL);

    expect(model.standing).toBe('changed');
    expect(told).toEqual([]);
  });

  it('is hidden where the server knows no environments', async () => {
    server.says = new ElementProblem(404, {
      code: 'not_found',
      message: 'Environments are switched off here.',
      hint: '',
      field: null,
      details: ''
    });

    await model.setKernel(KERNEL);

    expect(model.state).toEqual({ kind: 'off' });
  });

  it('is the business of the kernel that is not the ordinary one', async () => {
    await model.setKernel({ id: 'k-2', name: 'ir', displayName: 'R 4.4' });

    expect(model.state).toEqual({ kind: 'foreign', kernel: 'R 4.4' });
    expect(server.asked).toEqual([]);
  });

  it('stays on the screen when the server does not answer for a while', async () => {
    await model.setKernel(KERNEL);
    server.says = new ElementProblem(0, {
      code: 'unavailable',
      message: 'The Jupyter server did not answer.',
      hint: '',
      field: null,
      details: ''
    });

    await model.refresh();

    expect(word()).toBe('ready');
    expect(model.state).toMatchObject({ stale: { code: 'unavailable' } });
  });
});

describe('a build', () => {
  it('that the server has started is followed to its end', async () => {
    let built = 0;
    model.built.connect(() => (built += 1));
    server.says = environment({ state: 'building', kernel_environment_id: null });
    await model.setKernel(KERNEL);
    const words = [word()];

    await server.tell(event('resolving'));
    words.push(word());
    await server.tell(event('downloading', { done: 3, total: 12, message: 'numpy' }));
    words.push(word());
    await server.tell(event('installing', { done: 12, total: 44 }));
    words.push(word());
    await server.tell(event('checking'));
    words.push(word());
    server.says = environment();
    await server.tell(event('ready'));
    await server.tell(null);
    words.push(word());

    expect(words).toEqual([
      'building',
      'resolving',
      'downloading 3 of 12',
      'installing 12 of 44',
      'checking',
      'ready'
    ]);
    expect(model.build?.log).toEqual(['numpy']);
    expect(built).toBe(1);
  });

  it('that fails says why', async () => {
    server.says = environment({ state: 'building', kernel_environment_id: null });
    await model.setKernel(KERNEL);

    server.says = environment({
      state: 'failed',
      environment_id: null,
      kernel_environment_id: null,
      failure: FAILURE
    });
    await server.tell(event('failed', { failure: FAILURE }));
    await server.tell(null);

    expect(word()).toBe('failed');
    expect(model.failure).toEqual(FAILURE);
  });

  it('of newer versions that fails leaves the environment as it is, and says why', async () => {
    await model.setKernel(KERNEL);

    await model.start({ upgrade: true });
    expect(model.standing).toBe('building');
    await server.tell(event('failed', { failure: FAILURE }));
    await server.tell(null);

    expect(word()).toBe('ready');
    expect(model.failure).toEqual(FAILURE);
  });

  it('that mends a kernel without an environment asks for a restart', async () => {
    server.says = environment({
      state: 'failed',
      environment_id: null,
      kernel_environment_id: null,
      failure: FAILURE
    });
    await model.setKernel(KERNEL);
    server.says = environment({ kernel_environment_id: null });
    await model.refresh();

    expect(word()).toBe('changed: restart to update');

    model.kernelRestarts();
    server.says = environment();
    await model.refresh();

    expect(word()).toBe('ready');
  });

  it('is started ahead for a definition that has changed, and once', async () => {
    await model.setKernel(KERNEL);
    server.says = environment({
      state: 'missing',
      build_id: 'b-1',
      environment_id: null,
      kernel_environment_id: OLD
    });

    await Promise.all([model.buildAhead(), model.buildAhead()]);
    await model.buildAhead();

    expect(server.asked.filter(each => each === 'post /environments/builds')).toHaveLength(1);
    expect(model.standing).toBe('building');
  });

  it('is cancelled by its id', async () => {
    server.says = environment({ state: 'building' });
    await model.setKernel(KERNEL);

    await model.cancel();

    expect(server.asked).toContain('delete /environments/builds/{build_id}');
  });

  it('is asked about when its stream does not come through', async () => {
    jest.useFakeTimers();
    jest.spyOn(document, 'hidden', 'get').mockReturnValue(false);
    server.says = environment({ state: 'building', kernel_environment_id: null });
    await model.setKernel(KERNEL);
    expect(model.standing).toBe('building');

    server.says = environment();
    await jest.advanceTimersByTimeAsync(3 * QUIET);

    expect(word()).toBe('ready');
    const asked = server.asked.length;
    await jest.advanceTimersByTimeAsync(10 * QUIET);
    expect(server.asked).toHaveLength(asked);
  });

  it('is told by no stream when nobody looks any more', async () => {
    server.says = environment({ state: 'building' });
    await model.setKernel(KERNEL);

    model.dispose();
    await settled();

    expect(model.isDisposed).toBe(true);
  });
});

describe('an action', () => {
  it('that is refused says why, and can be tried again', async () => {
    await model.setKernel(KERNEL);
    const call = server.call;
    const problem = {
      code: 'invalid',
      message: "'???' is no requirement.",
      hint: '',
      field: 'requirements',
      details: ''
    };
    server.call = async () => {
      throw new ElementProblem(400, problem);
    };

    const added = await model.add(['???'], async () => undefined);

    expect(added).toBe(false);
    expect(model.refusal).toEqual({ action: 'add', problem });
    server.call = call;
    expect(await model.add(['humanize'], async () => undefined)).toBe(true);
    expect(model.refusal).toBeNull();
  });

  it('writes the definition before it is built', async () => {
    await model.setKernel(KERNEL);
    server.asked = [];

    await model.add(['humanize'], async file => void server.asked.push(`wrote ${file}`));

    expect(server.asked.slice(0, 3)).toEqual([
      'post /environments/requirements',
      'wrote r.txt',
      'post /environments/builds'
    ]);
  });
});

describe('the words', () => {
  it('name a definition as people do', () => {
    const { definition } = environment();
    const named = { ...definition!, name: 'default' };
    const inline = { ...definition!, kind: 'inline' as const, variant: 'gpu' };

    expect([definition, named, inline, null].map(each => nameOf(each, trans))).toEqual([
      'requirements.txt',
      'default',
      'inline [gpu]',
      'Environment'
    ]);
  });

  it('tell what was ignored and why', () => {
    const lines = detailsOf(
      environment({
        ignored: [{ path: 'environment.yml', reason: 'requirements.txt is closer' }],
        notices: ['postBuild is never run.']
      }),
      trans
    );

    expect(lines).toEqual([
      'work/requirements.txt: It is the closest to the notebook.',
      'Python 3.11.7, 44 packages',
      'Not used: environment.yml, because requirements.txt is closer.',
      'postBuild is never run.'
    ]);
  });
});
