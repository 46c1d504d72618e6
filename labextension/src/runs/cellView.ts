/**
 * One cell of the executed notebook, to be read only.
 */
import type { IRenderMimeRegistry } from '@jupyterlab/rendermime';
import { MimeModel } from '@jupyterlab/rendermime';
import type { TranslationBundle } from '@jupyterlab/translation';
import { Panel, Widget } from '@lumino/widgets';

import { size } from '../resources/words';
import { CellOutputs } from './cellOutputs';
import type { ICell } from './cells';
import { heightOf } from './height';
import { withAttachments, withoutMath } from './outputs';
import { lasted } from './words';

interface IOptions {
  rendermime: IRenderMimeRegistry;
  trans: TranslationBundle;
  /** What the notebook is written in. */
  language: () => string;
}

/** Sources beyond this many characters are not coloured. */
const MOST_CHARACTERS = 50_000;

/**
 * Shows its source at once; what takes time to draw when it is told to.
 */
export class CellView extends Panel {
  constructor(
    cell: ICell,
    private readonly _options: IOptions
  ) {
    super();
    this._cell = cell;
    this.addClass('jp-ElementCell');
    this.node.setAttribute('role', 'group');
    this.node.tabIndex = -1;
    this._prompt = new Widget();
    this._prompt.addClass('jp-ElementCell-prompt');
    this.addWidget(this._prompt);
    this._source = new Widget();
    this._source.addClass('jp-ElementCell-source');
    this.addWidget(this._source);
    this._describe();
  }

  /** About how high it is before it is drawn, in pixels. */
  get height(): number {
    return this._height;
  }

  /** Show what the cell is now. What is drawn already is changed where it differs. */
  change(cell: ICell): void {
    const before = this._cell;
    this._cell = cell;
    if (before.source !== cell.source || before.type !== cell.type) {
      this._isSourceDrawn = false;
      this._rendered?.dispose();
      this._rendered = null;
      this._source.show();
    }
    this._describe();
    if (this._isNear) {
      this.draw();
    }
  }

  /** Draw what takes time; from now on, changes are drawn as they come. */
  draw(): void {
    while (this.drawSome()) {
      // until all is there
    }
  }

  /** Draw the next thing that takes time; false when there is nothing more. */
  drawSome(): boolean {
    const isMore = this._drawNext();
    if (!isMore) {
      this.node.style.minHeight = '';
    }
    return isMore;
  }

  private _drawNext(): boolean {
    this._isNear = true;
    const { type, outputs, shortened } = this._cell;
    if (!this._isSourceDrawn) {
      this._isSourceDrawn = true;
      if (type === 'markdown') {
        this._drawMarkdown();
      } else if (type === 'code') {
        void this._highlight();
      }
      return outputs.length > 0 || this._outputs !== null;
    }
    if (!this._outputs) {
      if (!outputs.length && !shortened) {
        return false;
      }
      this._outputs = new CellOutputs(this._options);
      this.addWidget(this._outputs);
    }
    return this._outputs.draw(outputs, shortened, 1);
  }

  /** The prompt, the source as plain text, and how the cell went. */
  private _describe(): void {
    const { trans } = this._options;
    const { index, type, state, source, firstLine, executionCount } = this._cell;
    const { seconds, peakBytes } = this._cell;
    this.node.dataset.state = state;
    this.node.dataset.type = type;
    this.node.setAttribute('aria-label', trans.__('Cell %1', index + 1));
    if (!this._isNear) {
      this._height = heightOf(this._cell);
      this.node.style.minHeight = `${this._height}px`;
      this.node.style.containIntrinsicSize = `auto ${this._height}px`;
    }
    const text = source ?? firstLine;
    if (this._shownSource !== text) {
      this._shownSource = text;
      const plain = document.createElement('pre');
      plain.textContent = text;
      this._source.node.replaceChildren(plain);
    }
    if (type !== 'code') {
      this._prompt.node.replaceChildren();
      return;
    }
    const count =
      state === 'running' ? '[*]' : executionCount === null ? '[ ]' : `[${executionCount}]`;
    const word = this._word();
    const said = `${count} ${word} ${seconds} ${peakBytes}`;
    if (said !== this._shownPrompt) {
      this._shownPrompt = said;
      const number = document.createElement('span');
      number.textContent = count;
      const how = document.createElement('span');
      how.className = 'jp-ElementCell-how';
      how.textContent = seconds === null ? word : `${word} ${lasted(seconds, trans)}`;
      const used = document.createElement('span');
      used.className = 'jp-ElementCell-how';
      used.textContent = peakBytes ? size(peakBytes) : '';
      used.title = trans.__('The highest memory while it ran');
      this._prompt.node.replaceChildren(number, how, used);
    }
  }

  private _word(): string {
    const { trans } = this._options;
    switch (this._cell.state) {
      case 'running':
        return trans.__('running');
      case 'done':
        return '✓';
      case 'failed':
        return trans.__('✕ failed');
      case 'stopped':
        return trans.__('■ stopped');
      default:
        return '';
    }
  }

  private _drawMarkdown(): void {
    const { source, attachments } = this._cell;
    if (source === null) {
      return;
    }
    const registry = withAttachments(this._options.rendermime, attachments);
    const renderer = registry.createRenderer('text/markdown');
    this._rendered = renderer;
    this.addWidget(renderer);
    this._source.hide();
    renderer
      .renderModel(new MimeModel({ data: { 'text/markdown': source }, trusted: false }))
      .catch(() => {
        renderer.dispose();
        this._source.show();
      });
  }

  /** Let JupyterLab's Markdown colour the source; it stays plain if anything else would change. */
  private async _highlight(): Promise<void> {
    const { source } = this._cell;
    const language = this._options.language().replace(/^ipython\d?$/, 'python');
    if (!source?.trim() || source.length > MOST_CHARACTERS || !/^[\w+#-]+$/.test(language)) {
      return;
    }
    const longest = Math.max(2, ...(source.match(/`+/g) ?? []).map(run => run.length));
    const fence = '`'.repeat(longest + 1);
    const text = `${fence}${language}\n${source}\n${fence}\n`;
    const renderer = withoutMath(this._options.rendermime).createRenderer('text/markdown');
    try {
      await renderer.renderModel(
        new MimeModel({ data: { 'text/markdown': text }, trusted: false })
      );
      const code = renderer.node.querySelector('pre code');
      const plain = this._source.node.firstElementChild;
      if (
        plain &&
        code?.textContent?.trimEnd() === source.trimEnd() &&
        this._shownSource === source
      ) {
        plain.replaceChildren(...Array.from(code.childNodes));
      }
    } catch {
      // it stays plain
    } finally {
      renderer.dispose();
    }
  }

  private _cell: ICell;
  private _height = 0;
  private _isNear = false;
  private _isSourceDrawn = false;
  private _shownSource: string | null = null;
  private _shownPrompt = '';
  private _rendered: Widget | null = null;
  private _outputs: CellOutputs | null = null;
  private readonly _prompt: Widget;
  private readonly _source: Widget;
}
