/**
 * The executed notebook as a document to read, whose outputs come while one looks at it.
 */
import type { IRenderMimeRegistry } from '@jupyterlab/rendermime';
import type { TranslationBundle } from '@jupyterlab/translation';
import { Panel } from '@lumino/widgets';

import { CellView } from './cellView';
import type { Changed, ICell, RunCells } from './cells';
import { untrusted } from './outputs';

interface IOptions {
  cells: RunCells;
  rendermime: IRenderMimeRegistry | null;
  trans: TranslationBundle;
  /** What scrolls. */
  viewport: HTMLElement;
}

/** How long cells may be made, or drawn, before the browser is given its turn, in milliseconds. */
const TURN = 8;

/** How far around what is on the screen cells are drawn. */
const AROUND = '600px 0px';

/** A browser that watches thousands of things does little else: it watches groups of cells. */
const GROUP = 25;

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
    const where = { root: _options.viewport, rootMargin: AROUND };
    this._groups = new IntersectionObserver(entries => this._groupsCame(entries), where);
    this._cells = new IntersectionObserver(entries => this._cellsCame(entries), where);
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
    this._groups.disconnect();
    this._cells.disconnect();
    cancelAnimationFrame(this._frame);
    clearTimeout(this._turn);
    super.dispose();
  }

  /** Watch the cells of a group while it is near the screen. */
  private _groupsCame(entries: IntersectionObserverEntry[]): void {
    for (const { target, isIntersecting } of entries) {
      const group = Number((target as HTMLElement).dataset.group);
      const views = this._views.slice(group * GROUP, (group + 1) * GROUP);
      if (isIntersecting) {
        this._nearGroups.add(group);
        views.forEach(view => this._cells.observe(view.node));
      } else {
        this._nearGroups.delete(group);
        for (const view of views) {
          this._cells.unobserve(view.node);
          this._waiting.delete(view);
        }
      }
    }
  }

  private _cellsCame(entries: IntersectionObserverEntry[]): void {
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

  /** Make and draw for one turn between two frames, then go on after the next. */
  private _work(): void {
    if (this._frame || this.isDisposed) {
      return;
    }
    // in the frame itself, the browser lays out what the turn before has made
    this._frame = requestAnimationFrame(() => {
      this._turn = window.setTimeout(() => {
        this._frame = 0;
        const end = performance.now() + TURN;
        while (performance.now() < end) {
          if (!this._draw() && !this._make()) {
            return;
          }
        }
        this._work();
      });
    });
  }

  private _draw(): boolean {
    const [view] = this._waiting;
    if (!view) {
      return false;
    }
    if (view.isDisposed || !view.drawSome()) {
      this._waiting.delete(view);
      this._cells.unobserve(view.node);
    }
    return true;
  }

  /** Make the next group of cells, or the next cell of the last group. */
  private _make(): boolean {
    const { cells } = this._options.cells;
    const index = this._views.length;
    if (index >= cells.length) {
      return false;
    }
    const number = Math.floor(index / GROUP);
    const end = Math.min(cells.length, (number + 1) * GROUP);
    const group = this._groupAt(number);
    for (const cell of cells.slice(index, end)) {
      const view = this._viewOf(cell);
      group.addWidget(view);
      if (this._nearGroups.has(number)) {
        this._cells.observe(view.node);
      }
    }
    const views = this._views.slice(number * GROUP);
    const height = views.reduce((sum, view) => sum + view.height, 0);
    group.node.style.containIntrinsicSize = `auto ${height}px`;
    return true;
  }

  private _groupAt(number: number): Panel {
    const there = this.widgets[number];
    if (there) {
      return there as Panel;
    }
    const group = new Panel();
    group.addClass('jp-ElementCells');
    group.node.dataset.group = String(number);
    this.addWidget(group);
    this._groups.observe(group.node);
    return group;
  }

  private _viewOf(cell: ICell): CellView {
    const view = new CellView(cell, {
      rendermime: this._rendermime,
      trans: this._options.trans,
      language: () => this._options.cells.language
    });
    this._views.push(view);
    this._byNode.set(view.node, view);
    return view;
  }

  private _frame = 0;
  private _turn = 0;
  private readonly _rendermime: IRenderMimeRegistry;
  private readonly _groups: IntersectionObserver;
  private readonly _cells: IntersectionObserver;
  private readonly _nearGroups = new Set<number>();
  private readonly _views: CellView[] = [];
  private readonly _byNode = new WeakMap<Element, CellView>();
  private readonly _waiting = new Set<CellView>();
}
