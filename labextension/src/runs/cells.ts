/**
 * The cells of a run, folded out of its events: what the executed notebook looks like right now.
 */
import type * as nbformat from '@jupyterlab/nbformat';

import type { RunEvent } from './events';

/** How far a cell is. */
export type CellState = 'waiting' | 'running' | 'done' | 'failed' | 'stopped';

/** One cell as it is now. A change makes a new `outputs`, and leaves the outputs that stay. */
export interface ICell {
  readonly index: number;
  /** What it keeps from run to run; nothing until the notebook has come. */
  readonly id: string;
  readonly type: 'code' | 'markdown' | 'raw';
  /** Null until the notebook has come; then only the first line is known. */
  readonly source: string | null;
  readonly firstLine: string;
  readonly attachments: nbformat.IAttachments;
  readonly state: CellState;
  readonly executionCount: number | null;
  readonly seconds: number | null;
  readonly peakBytes: number | null;
  readonly outputs: readonly nbformat.IOutput[];
  /** Whether something was too large to be told while it runs. */
  readonly shortened: boolean;
}

/** The tag of the cell that a run gets its parameters by, which is made anew for each. */
const INJECTED = 'injected-parameters';

type Mutable = { -readonly [K in keyof ICell]: ICell[K] } & { clearNext: boolean };

/** What is to be drawn anew: the cells with these indexes, or the whole notebook. */
export type Changed = ReadonlySet<number> | 'all';

/**
 * Takes the events of one run in order; what is known already is passed over.
 *
 * While a run goes on, the notebook gives the sources and the events the outputs, since the file is
 * older than they are. The notebook that is written at the end gives everything.
 */
export class RunCells {
  get cells(): readonly ICell[] {
    return this._cells;
  }

  /** The id of the last event taken; a stream is taken up after it. */
  get last(): number {
    return this._last;
  }

  /** How many cells have been executed. */
  get done(): number {
    return this._done;
  }

  /** How many cells will be executed; null until the run has begun. */
  get total(): number | null {
    return this._total;
  }

  /** The cell that is being executed. */
  get current(): ICell | null {
    return this._running === null ? null : this._cells[this._running];
  }

  /** Whether the sources are known. */
  get hasDocument(): boolean {
    return this._language !== null;
  }

  /** Whether all is as the notebook says that was written at the end. */
  get isFinal(): boolean {
    return this._final;
  }

  /** What the notebook is written in. */
  get language(): string {
    return this._language ?? '';
  }

  /** Take one event; false when it was known. */
  take(event: RunEvent): boolean {
    if (event.sequence <= this._last) {
      return false;
    }
    this._last = event.sequence;
    switch (event.kind) {
      case 'run_started':
        this._begin(event.cells_total);
        break;
      case 'cell_started': {
        this._running = event.index;
        const cell = this._at(event.index);
        cell.firstLine = event.first_line;
        if (!this._final) {
          Object.assign(cell, { state: 'running', outputs: [], clearNext: false });
        }
        break;
      }
      case 'output':
        if (!this._final) {
          this._output(this._at(event.index), event.output as nbformat.IOutput, event.truncated);
        }
        break;
      case 'cell_finished': {
        const cell = this._at(event.index);
        cell.state = event.ok ? 'done' : 'failed';
        cell.seconds = event.duration_seconds;
        cell.peakBytes = event.peak_memory_bytes;
        this._running = null;
        this._done += 1;
        break;
      }
      case 'state_changed':
        if (['failed', 'stopped', 'lost'].includes(event.state)) {
          this._end();
        }
        break;
      case 'run_finished':
        this._end();
        if (event.state === 'stopped') {
          this._failedIs('stopped');
        }
        break;
    }
    return true;
  }

  /**
   * Take the notebook as it was last written.
   *
   * @param final - whether it was written at the end, so that nothing is newer
   */
  settle(document: nbformat.INotebookContent, final: boolean): void {
    const { language_info, kernelspec } = document.metadata;
    this._language = String(language_info?.name ?? kernelspec?.language ?? '');
    const before = this._cells;
    this._cells = document.cells.map((each, index) => {
      const cell = before[index] ?? blank(index);
      const source = joined(each.source);
      const code = each.cell_type === 'code';
      const known: Mutable = {
        ...cell,
        id: tagsOf(each).includes(INJECTED) ? INJECTED : String(each.id ?? ''),
        type: code ? 'code' : each.cell_type === 'markdown' ? 'markdown' : 'raw',
        source,
        firstLine: cell.firstLine || (source.trimStart().split('\n', 1)[0] ?? ''),
        attachments: (each.attachments ?? {}) as nbformat.IAttachments
      };
      if (code && final) {
        const outputs = joinedStreams((each.outputs ?? []) as nbformat.IOutput[]);
        known.outputs = kept(cell.outputs, outputs);
        known.executionCount = (each.execution_count as number | null | undefined) ?? null;
        known.shortened = false;
        Object.assign(known, executed(each, known));
      }
      return known;
    });
    this._final = this._final || final;
    this._changed = 'all';
  }

  /** What has changed since this was last asked. */
  changes(): Changed {
    const changed = this._changed;
    this._changed = new Set();
    return changed;
  }

  private _begin(total: number): void {
    this._total = total;
    this._done = 0;
    this._running = null;
    if (this._final) {
      return;
    }
    // what an attempt before this one left is no longer so
    for (const cell of this._cells) {
      if (cell.state !== 'waiting' || cell.outputs.length) {
        const { index } = cell;
        Object.assign(this._at(index), { ...fresh(), index });
      }
    }
    this._displays.clear();
  }

  private _end(): void {
    if (this._running !== null) {
      const cell = this._at(this._running);
      if (cell.state === 'running') {
        cell.state = 'stopped';
      }
      this._running = null;
    }
  }

  private _failedIs(state: CellState): void {
    for (const { index } of this._cells.filter(cell => cell.state === 'failed')) {
      this._at(index).state = state;
    }
  }

  private _output(cell: Mutable, output: nbformat.IOutput, shortened: boolean): void {
    const kind: string = output.output_type;
    cell.shortened = cell.shortened || shortened;
    if (kind === 'clear_output') {
      cell.clearNext = Boolean(output.wait);
      if (!cell.clearNext) {
        cell.outputs = [];
      }
      return;
    }
    if (kind === 'update_display_data') {
      this._update(output);
      return;
    }
    if (cell.clearNext) {
      cell.clearNext = false;
      cell.outputs = [];
    }
    const last = cell.outputs[cell.outputs.length - 1];
    if (kind === 'stream' && last?.output_type === 'stream' && last.name === output.name) {
      const text = joined(last.text) + joined(output.text);
      cell.outputs = [...cell.outputs.slice(0, -1), { ...last, text }];
      return;
    }
    cell.outputs = [...cell.outputs, output];
    const id = displayOf(output);
    if (id !== null) {
      const places = this._displays.get(id) ?? new Set();
      this._displays.set(id, places.add(cell.index));
    }
  }

  /** Another picture for what was displayed before, wherever that was. */
  private _update(update: nbformat.IOutput): void {
    const id = displayOf(update);
    for (const index of this._displays.get(id ?? '') ?? []) {
      const cell = this._at(index);
      cell.outputs = cell.outputs.map(output =>
        displayOf(output) === id
          ? { ...output, data: update.data, metadata: update.metadata }
          : output
      );
    }
  }

  private _at(index: number): Mutable {
    for (let next = this._cells.length; next <= index; next += 1) {
      this._cells.push(blank(next));
      this._mark(next);
    }
    this._mark(index);
    // a copy, so that whoever holds a cell holds what it was
    return (this._cells[index] = { ...this._cells[index] });
  }

  private _mark(index: number): void {
    if (this._changed !== 'all') {
      this._changed.add(index);
    }
  }

  private _cells: Mutable[] = [];
  private _changed: Set<number> | 'all' = new Set();
  private _last = 0;
  private _done = 0;
  private _total: number | null = null;
  private _running: number | null = null;
  private _language: string | null = null;
  private _final = false;
  private readonly _displays = new Map<string, Set<number>>();
}

/** A text of a notebook, which may be cut into lines. */
export function joined(text: unknown): string {
  return Array.isArray(text) ? text.map(String).join('') : String(text ?? '');
}

function tagsOf({ metadata }: nbformat.ICell): readonly unknown[] {
  return Array.isArray(metadata.tags) ? metadata.tags : [];
}

function fresh() {
  return {
    state: 'waiting' as const,
    executionCount: null,
    seconds: null,
    peakBytes: null,
    outputs: [],
    shortened: false,
    clearNext: false
  };
}

function blank(index: number): Mutable {
  return { index, id: '', type: 'code', source: null, firstLine: '', attachments: {}, ...fresh() };
}

function displayOf(output: nbformat.IOutput): string | null {
  const { display_id: id } = (output.transient ?? {}) as { display_id?: unknown };
  return typeof id === 'string' ? id : null;
}

/** One output for what one stream said without a break. */
function joinedStreams(outputs: readonly nbformat.IOutput[]): nbformat.IOutput[] {
  const found: nbformat.IOutput[] = [];
  for (const output of outputs) {
    const last = found[found.length - 1];
    if (output.output_type !== 'stream') {
      found.push(output);
    } else if (last?.output_type === 'stream' && last.name === output.name) {
      found[found.length - 1] = { ...last, text: joined(last.text) + joined(output.text) };
    } else {
      found.push({ ...output, text: joined(output.text) });
    }
  }
  return found;
}

/** The outputs, with those that are there already in place of their equals: they stay drawn. */
function kept(
  before: readonly nbformat.IOutput[],
  after: readonly nbformat.IOutput[]
): readonly nbformat.IOutput[] {
  return after.map((output, at) => {
    const known = before[at];
    return known && alike(known, output) ? known : output;
  });
}

function alike(one: nbformat.IOutput, other: nbformat.IOutput): boolean {
  return one.output_type === other.output_type && textOf(one) === textOf(other);
}

/** What an output shows, as text. */
function textOf(output: nbformat.IOutput): string {
  const { data, metadata, text, traceback, ename, evalue, execution_count } = output;
  return JSON.stringify([data, metadata, joined(text), traceback, ename, evalue, execution_count]);
}

/** What the notebook says about how a cell went; what the events said is not overruled. */
function executed(cell: nbformat.ICell, known: ICell): Partial<ICell> {
  const papermill = (cell.metadata.papermill ?? {}) as {
    status?: unknown;
    exception?: unknown;
    duration?: unknown;
  };
  if (known.state !== 'waiting') {
    return {};
  }
  const seconds = typeof papermill.duration === 'number' ? papermill.duration : null;
  const { peak_memory_bytes: peak } = (cell.metadata.element ?? {}) as Record<string, unknown>;
  const peakBytes = typeof peak === 'number' ? peak : null;
  if (papermill.exception === true || papermill.status === 'failed') {
    return { state: 'failed', seconds, peakBytes };
  }
  const ran = papermill.status === 'completed' && cell.execution_count !== null;
  return ran ? { state: 'done', seconds, peakBytes } : {};
}
