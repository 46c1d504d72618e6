/**
 * The executed notebook as a document to read, whose outputs come while one looks at it.
 */
import type { IRenderMimeRegistry } from '@jupyterlab/rendermime';
import type { TranslationBundle } from '@jupyterlab/translation';
import { Panel } from '@lumino/widgets';

import { CellView } from './cellView';
import type { Changed, RunCells } from './cells';
import { untrusted } from './outputs';

interface IOptions {
  cells: RunCells;
  rendermime: IRenderMimeRegistry | null;
  trans: TranslationBundle;
  /** What scrolls. */
  viewport: HTMLElement;
}

/** How long cells may be made, or drawn, before the browser is given its turn, in milliseconds. */
const TURN = 10;

/** How far around what is on the screen cells are drawn. */
const AROUND = '600px 0px';

/**
 * Makes and draws cells a few at a time, those near the screen only, so that scrolling never waits.
 */
export class RunDocument extends Panel {
  constructor(private readonly _options: IOptions) {
    super();
    this.addClass('jp-ElementDocument');
    this.node.setAttribute('role', 'region');
    this.node.setAttribute('aria-label', _options.trans.__('Notebook'));
    this._rendermime = untrusted(_options.rendermime);
    this._near = new IntersectionObserver(entries => this._came(entries), {
      root: _options.viewport,
      rootMargin: AROUND
    });
  }

  /** Show what has changed. */
  refresh(changed: Changed): void {
    const { cells } = this._options.cells;
    while (this._views.length > cells.length) {
      this._views.pop()?.dispose();
    }
    const known = this._views.length;
    for (const index of changed === 'all' ? Array(known).keys() : changed) {
      if (index < known) {
        this._views[index].change(cells[index]);
      }
    }
    this._work();
  }

  /** Bring a cell to the screen, and the focus to it. */
  reveal(index: number): void {
    while (this._views.length <= index && this._make()) {
      // all before it have to be there
    }
    const view = this._views[index];
    if (view) {
      view.draw();
      view.node.scrollIntoView({ block: 'center' });
      view.node.focus({ preventScroll: true });
    }
  }

  dispose(): void {
    if (this.isDisposed) {
      return;
    }
    this._near.disconnect();
    cancelAnimationFrame(this._frame);
    super.dispose();
  }

  private _came(entries: IntersectionObserverEntry[]): void {
    for (const { target, isIntersecting } of entries) {
      const view = this._byNode.get(target);
      if (view && isIntersecting) {
        this._waiting.add(view);
      } else if (view) {
        this._waiting.delete(view);
      }
    }
    this._work();
  }

  /** Make and draw for one turn, then go on in the next frame. */
  private _work(): void {
    if (this._frame || this.isDisposed) {
      return;
    }
    this._frame = requestAnimationFrame(() => {
      this._frame = 0;
      const end = performance.now() + TURN;
      while (performance.now() < end) {
        if (!this._draw() && !this._make()) {
          return;
        }
      }
      this._work();
    });
  }

  private _draw(): boolean {
    const [view] = this._waiting;
    if (!view) {
      return false;
    }
    this._waiting.delete(view);
    this._near.unobserve(view.node);
    if (!view.isDisposed) {
      view.draw();
    }
    return true;
  }

  private _make(): boolean {
    const { cells } = this._options.cells;
    const index = this._views.length;
    if (index >= cells.length) {
      return false;
    }
    const view = new CellView(cells[index], {
      rendermime: this._rendermime,
      trans: this._options.trans,
      language: () => this._options.cells.language
    });
    this._views.push(view);
    this._byNode.set(view.node, view);
    this.addWidget(view);
    this._near.observe(view.node);
    return true;
  }

  private _frame = 0;
  private readonly _rendermime: IRenderMimeRegistry;
  private readonly _near: IntersectionObserver;
  private readonly _views: CellView[] = [];
  private readonly _byNode = new WeakMap<Element, CellView>();
  private readonly _waiting = new Set<CellView>();
}
