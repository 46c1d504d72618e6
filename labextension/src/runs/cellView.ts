/**
 * One cell of the executed notebook, to be read only.
 */
import type * as nbformat from '@jupyterlab/nbformat';
import { OutputAreaModel, SimplifiedOutputArea } from '@jupyterlab/outputarea';
import type { IRenderMimeRegistry } from '@jupyterlab/rendermime';
import { MimeModel } from '@jupyterlab/rendermime';
import type { TranslationBundle } from '@jupyterlab/translation';
import { Panel, Widget } from '@lumino/widgets';

import { sizeOf } from '../environments/parts';
import type { ICell } from './cells';
import { joined } from './cells';
import { harmless, withAttachments } from './outputs';
import { lasted } from './words';

interface IOptions {
  rendermime: IRenderMimeRegistry;
  trans: TranslationBundle;
  /** What the notebook is written in. */
  language: () => string;
}

/** Texts beyond this many characters are shown when they are asked for: drawing them takes time. */
const MOST_CHARACTERS = 200_000;

/** How many outputs of one cell are drawn unasked. */
const MOST_OUTPUTS = 100;

/** How high a line is before it is measured, in pixels. */
const LINE = 17;

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
    this._prompt = document.createElement('div');
    this._prompt.className = 'jp-ElementCell-prompt';
    this._source = document.createElement('div');
    this._source.className = 'jp-ElementCell-source';
    this.node.append(this._prompt, this._source);
    this._describe();
  }

  /** Show what the cell is now. What is drawn already is changed where it differs. */
  change(cell: ICell): void {
    const before = this._cell;
    this._cell = cell;
    if (before.source !== cell.source || before.type !== cell.type) {
      this._isDrawn = false;
      this._rendered?.dispose();
      this._rendered = null;
    }
    this._describe();
    if (this._near) {
      this.draw();
    }
  }

  /** Draw what takes time; from now on, changes are drawn as they come. */
  draw(): void {
    this._near = true;
    if (!this._isDrawn) {
      this._isDrawn = true;
      if (this._cell.type === 'markdown') {
        this._drawMarkdown();
      } else if (this._cell.type === 'code') {
        void this._highlight();
      }
    }
    this._drawOutputs();
  }

  dispose(): void {
    if (this.isDisposed) {
      return;
    }
    this._model?.dispose();
    super.dispose();
  }

  /** The prompt, the source as plain text, and how the cell went. */
  private _describe(): void {
    const { trans } = this._options;
    const { index, type, state, source, firstLine, executionCount, seconds } = this._cell;
    this.node.dataset.state = state;
    this.node.dataset.type = type;
    this.node.setAttribute('aria-label', trans.__('Cell %1', index + 1));
    const text = source ?? firstLine;
    if (this._shownSource !== text) {
      this._shownSource = text;
      const plain = document.createElement('pre');
      plain.textContent = text;
      this._source.replaceChildren(plain);
      const lines = text.split('\n').length + 2;
      this.node.style.containIntrinsicSize = `auto ${lines * LINE}px`;
    }
    if (type !== 'code') {
      return;
    }
    const count =
      state === 'running' ? '[*]' : executionCount === null ? '[ ]' : `[${executionCount}]`;
    const word = this._word();
    const said = `${count} ${word} ${seconds}`;
    if (said !== this._shownPrompt) {
      this._shownPrompt = said;
      const number = document.createElement('span');
      number.textContent = count;
      const how = document.createElement('span');
      how.className = 'jp-ElementCell-how';
      how.textContent = seconds === null ? word : `${word} ${lasted(seconds, trans)}`;
      this._prompt.replaceChildren(number, how);
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
    this._source.hidden = true;
    renderer
      .renderModel(new MimeModel({ data: { 'text/markdown': source }, trusted: false }))
      .catch(() => {
        renderer.dispose();
        this._source.hidden = false;
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
    const renderer = this._options.rendermime.createRenderer('text/markdown');
    try {
      await renderer.renderModel(
        new MimeModel({ data: { 'text/markdown': text }, trusted: false })
      );
      const code = renderer.node.querySelector('pre code');
      const plain = this._source.firstElementChild;
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

  private _drawOutputs(): void {
    const outputs = this._cell.outputs;
    if (outputs.length && !this._area) {
      this._model = new OutputAreaModel({ trusted: false });
      this._area = new SimplifiedOutputArea({
        model: this._model,
        rendermime: this._options.rendermime,
        maxNumberOutputs: MOST_OUTPUTS
      });
      this._area.addClass('jp-ElementCell-outputs');
      this.addWidget(this._area);
    }
    if (this._model) {
      this._synchronize(this._model, outputs);
    }
    this._remark();
  }

  private _synchronize(model: OutputAreaModel, outputs: readonly nbformat.IOutput[]): void {
    const shown = this._shown;
    const last = shown.length - 1;
    for (const [at, output] of outputs.entries()) {
      const before = shown[at];
      if (before === output) {
        continue;
      }
      const more = at === last && before ? this._added(before, output) : null;
      if (before === undefined) {
        model.add(this._fitting(output));
      } else if (more !== null) {
        if (more) {
          model.add({ ...output, text: more } as nbformat.IOutput);
        }
      } else if (output.output_type === 'stream' || before.output_type === 'stream') {
        // a text that is put in place of another one would not be read as a terminal does
        model.fromJSON(outputs.map(each => this._fitting(each)));
        break;
      } else {
        model.set(at, this._fitting(output));
      }
    }
    if (outputs.length === 0 && model.length) {
      model.clear();
    }
    while (model.length > outputs.length) {
      model.remove(model.length - 1);
    }
    this._shown = outputs;
  }

  /** What a stream has said since; null when it has not just gone on. */
  private _added(before: nbformat.IOutput, output: nbformat.IOutput): string | null {
    if (
      before.output_type !== 'stream' ||
      output.output_type !== 'stream' ||
      before.name !== output.name
    ) {
      return null;
    }
    const [known, text] = [joined(before.text), joined(output.text)];
    const most = this._whole ? Infinity : MOST_CHARACTERS;
    return text.startsWith(known) ? text.slice(Math.min(known.length, most), most) : null;
  }

  /** The output, or the beginning of it when drawing all would take long. */
  private _fitting(output: nbformat.IOutput): nbformat.IOutput {
    const safe = harmless(output);
    if (this._whole || lengthOf(output) <= MOST_CHARACTERS) {
      return safe;
    }
    if (safe.output_type === 'stream') {
      return { ...safe, text: joined(safe.text).slice(0, MOST_CHARACTERS) };
    }
    const { data = {} } = safe as { data?: nbformat.IMimeBundle };
    const text = joined(data['text/plain']).slice(0, MOST_CHARACTERS);
    return { ...safe, data: { 'text/plain': text } } as nbformat.IOutput;
  }

  /** Say what of the outputs is not shown, and offer it where it is here. */
  private _remark(): void {
    const { trans } = this._options;
    const { outputs, shortened } = this._cell;
    const hidden = this._whole
      ? 0
      : outputs.map(lengthOf).reduce((sum, size) => (size > MOST_CHARACTERS ? sum + size : sum), 0);
    const key = `${shortened} ${hidden}`;
    if (key === this._shownRemark) {
      return;
    }
    this._shownRemark = key;
    this._remarks?.dispose();
    this._remarks = null;
    if (!shortened && !hidden) {
      return;
    }
    const remark = new Widget();
    remark.addClass('jp-ElementCell-remark');
    if (hidden) {
      const button = document.createElement('button');
      button.type = 'button';
      button.className = 'jp-ElementButton jp-mod-styled';
      button.textContent = trans.__('Show all of this output (%1)', sizeOf(hidden));
      button.onclick = () => {
        this._whole = true;
        this._shown = [];
        this._model?.clear();
        this._drawOutputs();
        this.node.focus();
      };
      remark.node.append(button);
    }
    if (shortened) {
      remark.node.append(trans.__('Shortened while the notebook runs; it is written whole.'));
    }
    this._remarks = remark;
    this.addWidget(remark);
  }

  private _cell: ICell;
  private _near = false;
  private _isDrawn = false;
  private _whole = false;
  private _shown: readonly nbformat.IOutput[] = [];
  private _shownSource: string | null = null;
  private _shownPrompt = '';
  private _shownRemark = 'false 0';
  private _model: OutputAreaModel | null = null;
  private _area: SimplifiedOutputArea | null = null;
  private _rendered: Widget | null = null;
  private _remarks: Widget | null = null;
  private readonly _prompt: HTMLElement;
  private readonly _source: HTMLElement;
}

const lengths = new WeakMap<nbformat.IOutput, number>();

/** How much there is to draw, in characters; pictures are drawn by the browser in its own time. */
function lengthOf(output: nbformat.IOutput): number {
  const length = lengths.get(output) ?? measured(output);
  lengths.set(output, length);
  return length;
}

function measured(output: nbformat.IOutput): number {
  if (output.output_type === 'stream') {
    return joined(output.text).length;
  }
  const { data } = output as { data?: nbformat.IMimeBundle };
  return Object.entries(data ?? {}).reduce((most, [type, value]) => {
    if (type.startsWith('image/')) {
      return most;
    }
    const size =
      typeof value === 'string' || Array.isArray(value)
        ? joined(value).length
        : JSON.stringify(value ?? null).length;
    return Math.max(most, size);
  }, 0);
}
