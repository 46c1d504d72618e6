/**
 * Which cell a kernel is at, as the notebooks of this window know it.
 */
import type { ISessionContext } from '@jupyterlab/apputils';
import type { INotebookTracker, Notebook, NotebookPanel } from '@jupyterlab/notebook';
import type { Kernel } from '@jupyterlab/services';
import type { IDisposable } from '@lumino/disposable';
import type { ISignal } from '@lumino/signaling';
import { Signal } from '@lumino/signaling';

import type { IExecuted } from './words';

type Cell = Notebook['widgets'][number];

/** What a kernel tells before it forgets what it was at. */
const ENDS: readonly Kernel.Status[] = ['restarting', 'autorestarting', 'dead', 'terminating'];

interface IExecution {
  notebook: Notebook;
  cell: Cell;
}

export class Executing implements IDisposable {
  /**
   * @param actions - what tells of each cell that is to be executed, and that has been
   */
  constructor(
    private readonly _notebooks: INotebookTracker,
    actions: {
      executionScheduled: ISignal<unknown, IExecution>;
      executed: ISignal<unknown, IExecution>;
    }
  ) {
    actions.executionScheduled.connect(this._begun, this);
    actions.executed.connect(this._ended, this);
  }

  get isDisposed(): boolean {
    return this._isDisposed;
  }

  dispose(): void {
    this._isDisposed = true;
    Signal.clearData(this);
  }

  /** The notebook of this window that works with a kernel. */
  panelOf(kernelId: string): NotebookPanel | null {
    return (
      this._notebooks.find(panel => panel.sessionContext.session?.kernel?.id === kernelId) ?? null
    );
  }

  /** The cell that a kernel is at, or was when it died. */
  cellOf(kernelId: string): IExecuted | null {
    const notebook = this.panelOf(kernelId)?.content;
    if (!notebook) {
      return null;
    }
    const [cell] = [...(this._scheduled.get(notebook) ?? []), this._last.get(notebook)];
    const index = cell ? notebook.widgets.indexOf(cell) : -1;
    if (!cell || index < 0) {
      return null;
    }
    const [line] = cell.model.sharedModel.getSource().trim().split('\n', 1);
    return { number: index + 1, line };
  }

  private _begun(_: unknown, { notebook, cell }: IExecution): void {
    const cells = this._scheduled.get(notebook) ?? new Set();
    this._scheduled.set(notebook, cells.add(cell));
    this._last.delete(notebook);
    this._notebooks
      .find(({ content }) => content === notebook)
      ?.sessionContext.statusChanged.connect(this._told, this);
  }

  private _ended(_: unknown, { notebook, cell }: IExecution): void {
    this._scheduled.get(notebook)?.delete(cell);
  }

  /** What is cancelled by the end of a kernel is not told to have ended. */
  private _told(context: ISessionContext, status: Kernel.Status): void {
    const notebook = this._notebooks.find(panel => panel.sessionContext === context)?.content;
    const cells = notebook && this._scheduled.get(notebook);
    if (notebook && cells?.size && ENDS.includes(status)) {
      this._last.set(notebook, [...cells][0]);
      cells.clear();
    }
  }

  private readonly _scheduled = new WeakMap<Notebook, Set<Cell>>();
  private readonly _last = new WeakMap<Notebook, Cell>();
  private _isDisposed = false;
}
