/** @jest-environment jsdom */
import { Notification } from '@jupyterlab/apputils';
import type { INotebookTracker, NotebookPanel } from '@jupyterlab/notebook';
import { nullTranslator } from '@jupyterlab/translation';
import { CommandRegistry } from '@lumino/commands';
import { Signal } from '@lumino/signaling';

import { ElementProblem } from '../src/api/client';
import { Executing } from '../src/resources/executing';
import { ResourcesModel } from '../src/resources/model';
import { NearLimit } from '../src/resources/near';
import { Notices } from '../src/resources/notices';
import { RunningModel } from '../src/resources/running';
import type { IServices } from '../src/resources/services';
import { CommandIDs } from '../src/resources/services';
import type { Death, KernelUsage, Sample } from '../src/resources/types';
import {
  bySize,
  isClose,
  memoryShare,
  percent,
  size,
  sizes,
  summary
} from '../src/resources/words';
import type { IElementClient } from '../src/tokens';

const trans = nullTranslator.load('element');
const GIB = 1024 ** 3;

function kernel(changes: Partial<KernelUsage> = {}): KernelUsage {
  return {
    kernel_id: 'k-1',
    notebook: 'work/train.ipynb',
    kernel_name: 'python3',
    cpu_cores: 0.1,
    memory_bytes: 3.1 * GIB,
    gpu_memory_bytes: null,
    threads: 8,
    processes: 1,
    idle_seconds: 90,
    execution_state: 'idle',
    ...changes
  };
}

let seconds = 0;

function sample(gibibytes: number, changes: Partial<Sample> = {}): Sample {
  return {
    at: new Date(Date.UTC(2026, 10, 21, 20, 0, ++seconds)).toISOString(),
    server: {
      cpu_cores: 0.32,
      cpu_limit_cores: 2,
      cpu_limit_source: 'limit of the container',
      memory_bytes: gibibytes * GIB,
      memory_limit_bytes: 4 * GIB,
      memory_limit_source: 'set by your hub'
    },
    disks: [],
    gpus: [],
    kernels: [],
    ...changes
  };
}

const DEATH: Death = {
  kernel_id: 'k-1',
  notebook: 'work/train.ipynb',
  at: '2026-11-21T20:00:00Z',
  code: 'out_of_memory',
  sentence:
    'The kernel was killed: memory ran out (2.0 of 2.0 GiB, set by your hub). ' +
    'When last measured it used 1.9 GiB itself.',
  memory_bytes: 1.9 * GIB,
  memory_limit_bytes: 2 * GIB
};

const SAID =
  'train.ipynb: The kernel was killed: memory ran out (2.0 of 2.0 GiB, set by your hub).';

type Told = { history?: unknown; sample?: Sample; death?: Death };

/** A server whose stream says what a test tells it to. */
class Server {
  readonly signals: AbortSignal[] = [];
  deaths: Death[] = [];
  refusal: Error | null = null;

  /** The connections that are open. */
  get open(): number {
    return this.signals.filter(({ aborted }) => !aborted).length;
  }

  call = async () => ({ items: this.deaths });

  async *follow(_: string, { signal }: { signal: AbortSignal }): AsyncGenerator<Told, void> {
    this.signals.push(signal);
    if (this.refusal) {
      throw this.refusal;
    }
    while (!signal.aborted) {
      yield await new Promise<Told>(resolve => (this._next = resolve));
    }
  }

  async tell(told: Told): Promise<void> {
    await settled();
    this._next(told);
    await settled();
  }

  private _next: (told: Told) => void = () => undefined;
}

async function settled(): Promise<void> {
  for (let turn = 0; turn < 20; turn++) {
    await Promise.resolve();
  }
}

function hide(hidden: boolean): void {
  Object.defineProperty(document, 'hidden', { configurable: true, value: hidden });
  document.dispatchEvent(new Event('visibilitychange'));
}

const made: { dispose(): void }[] = [];

function listening(server: Server): ResourcesModel {
  const model = new ResourcesModel(server as unknown as IElementClient, 'Silence.');
  made.push(model);
  return model;
}

/** A notebook that is open in this window, with the kernel k-1. */
function open(...sources: string[]) {
  const widgets = sources.map(source => ({
    model: { sharedModel: { getSource: () => source } }
  }));
  const context = { session: { kernel: { id: 'k-1' } } };
  const statusChanged = new Signal<typeof context, string>(context);
  const content = { widgets };
  const panel = { content, sessionContext: Object.assign(context, { statusChanged }) };
  const scheduled = new Signal<unknown, never>(panel);
  const executed = new Signal<unknown, never>(panel);
  const about = (index: number) => ({ notebook: content, cell: widgets[index] }) as never;
  const actions = { executionScheduled: scheduled, executed };
  const schedule = (index: number) => scheduled.emit(about(index));
  const finish = (index: number) => executed.emit(about(index));
  return {
    panel,
    actions,
    schedule,
    finish,
    status: (status: string) => statusChanged.emit(status)
  };
}

/** A window: its notices over what all windows of the browser keep. */
function openWindow(server: Server, notebook?: ReturnType<typeof open>, told = 0.9) {
  const model = listening(server);
  const commands = new CommandRegistry();
  const shown: unknown[] = [];
  commands.addCommand(CommandIDs.resources, { execute: () => shown.push(1) });
  const notebooks = {
    find: (wanted: (panel: NotebookPanel) => boolean) =>
      [notebook?.panel as unknown as NotebookPanel].find(each => each && wanted(each))
  } as INotebookTracker;
  const manager = { serverSettings: { baseUrl: '/user/ada/' } };
  const services = { client: server, commands, notebooks, manager, trans };
  const nothing = new Signal<unknown, never>(model);
  const actions = notebook?.actions ?? { executionScheduled: nothing, executed: nothing };
  const executing = new Executing(notebooks, actions);
  const limits = () => ({ marked: 0.85, told });
  made.push(new Notices(model, executing, services as unknown as IServices, limits), executing);
  return { model, shown };
}

const messages = () => Notification.manager.notifications.map(({ message }) => message);

beforeEach(() => {
  jest.useFakeTimers();
  hide(false);
  Notification.dismiss();
  window.localStorage.clear();
});

afterEach(() => {
  made.splice(0).forEach(each => each.dispose());
  jest.useRealTimers();
});

describe('ResourcesModel', () => {
  it('is loading until the first sample, and ready with it', async () => {
    const server = new Server();
    const model = listening(server);
    expect(model.state).toEqual({ kind: 'loading' });

    await server.tell({ sample: sample(1) });

    expect(model.state).toMatchObject({ kind: 'ready', late: false });
  });

  it('keeps ten minutes of the past, in which it goes on by itself', async () => {
    const server = new Server();
    const model = listening(server);
    const first = sample(1);
    const point = { cpu_cores: 1, memory_bytes: GIB, gpu_memory_bytes: null };
    const minutesAgo = (minutes: number) =>
      new Date(Date.parse(first.at) - minutes * 60_000).toISOString();

    await server.tell({
      history: {
        server: [11, 9].map(minutes => ({ at: minutesAgo(minutes), ...point })),
        kernels: {}
      }
    });
    await server.tell({ sample: first });

    expect(model.past.map(({ at }) => at)).toEqual([minutesAgo(9), first.at]);
  });

  it('says that values are old when none come, and no more when they do', async () => {
    const server = new Server();
    const model = listening(server);
    await server.tell({ sample: sample(1) });

    jest.advanceTimersByTime(6_000);
    await settled();
    expect(model.state).toMatchObject({ kind: 'ready', late: true });

    await server.tell({ sample: sample(1) });
    expect(model.state).toMatchObject({ kind: 'ready', late: false });
  });

  it('fails when nothing ever comes, and is ready when something does', async () => {
    const server = new Server();
    const model = listening(server);
    await settled();

    jest.advanceTimersByTime(16_000);
    await settled();
    expect(model.state).toMatchObject({ kind: 'failed', problem: { message: 'Silence.' } });

    await server.tell({ sample: sample(1) });
    expect(model.state.kind).toBe('ready');
  });

  it('tells why it is refused, and tries again when it is asked to', async () => {
    const server = new Server();
    server.refusal = new ElementProblem(404, {
      code: 'not_found',
      message: 'There is nothing here.',
      hint: '',
      field: null,
      details: ''
    });
    const model = listening(server);
    await settled();
    expect(model.state).toMatchObject({
      kind: 'failed',
      problem: { message: 'There is nothing here.' }
    });

    server.refusal = null;
    model.again();
    await server.tell({ sample: sample(1) });

    expect(model.state.kind).toBe('ready');
  });

  it('has one stream, and none in a window that is hidden', async () => {
    const server = new Server();
    const model = listening(server);
    await server.tell({ sample: sample(1) });
    expect(server.open).toBe(1);

    hide(true);
    expect(server.open).toBe(0);
    jest.advanceTimersByTime(60_000);
    await settled();
    expect(model.state).toMatchObject({ late: false });

    hide(false);
    hide(false);
    await server.tell({ sample: sample(2) });
    expect(server.open).toBe(1);

    model.dispose();
    expect(server.open).toBe(0);
  });

  it('does not begin in a window that is hidden', async () => {
    hide(true);
    const server = new Server();
    listening(server);
    await settled();

    expect(server.signals).toHaveLength(0);
  });
});

describe('NearLimit', () => {
  it('makes one episode of what goes up and down around the limit', () => {
    const near = new NearLimit();
    const learn = (share: number | null) => near.learn(share, 0.9);

    expect([0.5, 0.91, 0.89, 0.95, 0.86].map(learn)).toEqual([null, 'begins', null, null, null]);
    expect([0.84, 0.89, 0.9].map(learn)).toEqual(['ends', null, 'begins']);
    expect(learn(null)).toBe('ends');
  });
});

describe('Notices', () => {
  const full = () =>
    sample(3.8, { kernels: [kernel(), kernel({ memory_bytes: 1, notebook: 'b' })] });
  const WARNING =
    'Memory is 95\u00a0% full; the kernel may be stopped. Largest: train.ipynb 3.1 GiB.';

  it('tells once of an episode, and again of the next one', async () => {
    const server = new Server();
    const { shown } = openWindow(server);

    await server.tell({ sample: full() });
    await server.tell({ sample: sample(3.5) });
    await server.tell({ sample: full() });
    expect(messages()).toEqual([WARNING]);
    Notification.manager.notifications[0].options.actions![0].callback(new MouseEvent('click'));
    expect(shown).toEqual([1]);

    await server.tell({ sample: sample(2) });
    await server.tell({ sample: full() });
    expect(messages()).toHaveLength(2);
  });

  it('tells of it in one of several windows, and not again when the page is loaded anew', async () => {
    const servers = [new Server(), new Server()];
    servers.forEach(server => openWindow(server));

    await servers[0].tell({ sample: full() });
    await servers[1].tell({ sample: full() });
    const anew = new Server();
    openWindow(anew);
    await anew.tell({ sample: full() });

    expect(messages()).toHaveLength(1);
  });

  it('tells nothing of memory where that is not wanted, or has no limit', async () => {
    const server = new Server();
    openWindow(server, undefined, Infinity);
    await server.tell({ sample: sample(4) });

    const other = new Server();
    openWindow(other);
    const unlimited = sample(4);
    unlimited.server.memory_limit_bytes = null;
    await other.tell({ sample: unlimited });

    expect(messages()).toEqual([]);
  });

  it('tells why a kernel died, and at which cell it was', async () => {
    const server = new Server();
    const notebook = open('# Title', 'x = 1', '\nbig = load()\nuse(big)');
    const { schedule, finish } = notebook;
    openWindow(server, notebook);

    schedule(1);
    schedule(2);
    finish(1);
    await server.tell({ death: DEATH });

    expect(messages()).toEqual([`${SAID} It was at cell 3: big = load()`]);
  });

  it('knows the cell though the kernel starts anew before the death is told', async () => {
    const server = new Server();
    const notebook = open('x = 1', 'y = 2');
    const { schedule, status } = notebook;
    openWindow(server, notebook);

    schedule(0);
    schedule(1);
    status('autorestarting');
    await server.tell({ death: DEATH });

    expect(messages()).toEqual([`${SAID} It was at cell 1: x = 1`]);
  });

  it('tells of a death once: of several windows the one that has the notebook', async () => {
    const [without, having] = [new Server(), new Server()];
    openWindow(without);
    const notebook = open('x = 1');
    openWindow(having, notebook);
    notebook.schedule(0);

    await without.tell({ death: DEATH });
    await having.tell({ death: DEATH });
    jest.advanceTimersByTime(5_000);
    await having.tell({ death: DEATH });

    expect(messages()).toEqual([`${SAID} It was at cell 1: x = 1`]);
  });

  it('tells of a death that came while nobody listened', async () => {
    const server = new Server();
    server.deaths = [DEATH];
    openWindow(server);

    await server.tell({ history: { server: [], kernels: {} } });
    jest.advanceTimersByTime(5_000);

    expect(messages()).toEqual([SAID]);
  });
});

describe('RunningModel', () => {
  it('says that no platform runs, and nothing of an outage', async () => {
    jest.useRealTimers();
    const refusal = new ElementProblem(503, {
      code: 'unavailable',
      message: 'The Element platform is not running.',
      hint: '',
      field: null,
      details: ''
    });
    const client = { call: async () => Promise.reject(refusal) };
    const model = new RunningModel(client as unknown as IElementClient, trans);
    made.push(model);

    const ready = new Promise<void>(resolve => model.stateChanged.connect(() => resolve()));
    model.look();
    await ready;

    expect(model.state).toMatchObject({ kind: 'ready', page: null, stale: null });
  });
});

describe('words', () => {
  it.each([
    [0, '0 B'],
    [300 * 1024 ** 2, '300 MiB'],
    [2.1 * GIB, '2.1 GiB'],
    [16 * GIB, '16 GiB']
  ])('says %d bytes as people do', (bytes, said) => {
    expect(size(bytes)).toBe(said);
  });

  it('says what is used in the unit of the limit', () => {
    expect(sizes(0.3 * GIB, 4 * GIB, trans)).toBe('0.3 of 4 GiB');
    expect(sizes(0.3 * GIB, null, trans)).toBe('307 MiB');
  });

  it('says in the status bar only what there is', () => {
    const gpu = { index: 0, name: 'A100', memory_bytes: 1, memory_size_bytes: 2 };
    expect(summary(sample(2.1), trans)).toBe('CPU 0.3 of 2 · 2.1 of 4 GiB');
    expect(summary(sample(2.1, { gpus: [{ ...gpu, utilization: 0.71 }] }), trans)).toBe(
      'CPU 0.3 of 2 · 2.1 of 4 GiB · GPU 71\u00a0%'
    );
    expect(summary(sample(2.1, { gpus: [{ ...gpu, utilization: null }] }), trans)).toBe(
      'CPU 0.3 of 2 · 2.1 of 4 GiB'
    );
  });

  it('marks what is as full as the person has set, and the last tenth always', () => {
    expect([0.84, 0.85, null].map(share => isClose(share, 0.85))).toEqual([false, true, false]);
    expect(isClose(0.9, 0.99)).toBe(true);
    expect(memoryShare(sample(2))).toBe(0.5);
    expect(percent(0.954)).toBe('95\u00a0%');
  });

  it('puts the largest kernel first', () => {
    const kernels = [kernel({ memory_bytes: 1 }), kernel({ memory_bytes: 2, kernel_id: 'k-2' })];
    expect(bySize(kernels).map(({ kernel_id }) => kernel_id)).toEqual(['k-2', 'k-1']);
  });
});
