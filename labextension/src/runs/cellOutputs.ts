/**
 * The outputs of one cell, drawn one at a time, and changed where they differ.
 */
import type * as nbformat from '@jupyterlab/nbformat';
import { OutputAreaModel, SimplifiedOutputArea } from '@jupyterlab/outputarea';
import type { IRenderMimeRegistry } from '@jupyterlab/rendermime';
import type { TranslationBundle } from '@jupyterlab/translation';
import { Panel, Widget } from '@lumino/widgets';

import { sizeOf } from '../environments/parts';
import { joined } from './cells';
import { harmless } from './outputs';

interface IOptions {
  rendermime: IRenderMimeRegistry;
  trans: TranslationBundle;
}

/** Outputs beyond this many characters are shown when they are asked for: drawing takes time. */
const MOST_CHARACTERS = 100_000;

/** How many outputs of one cell are drawn unasked. */
const MOST_OUTPUTS = 100;

export class CellOutputs extends Panel {
  constructor(private readonly _options: IOptions) {
    super();
    this.addClass('jp-ElementCell-outputs');
    this._area = new SimplifiedOutputArea({
      model: this._model,
      rendermime: _options.rendermime,
      maxNumberOutputs: MOST_OUTPUTS
    });
    this.addWidget(this._area);
  }

  /**
   * Draw these in place of those that were shown.
   *
   * @param most - how many may be drawn that are not drawn yet
   * @param shortened - whether something was too large to be told
   * @returns whether some are still to be drawn
   */
  draw(outputs: readonly nbformat.IOutput[], shortened: boolean, most = Infinity): boolean {
    const shown = outputs.slice(0, this._shown.length + most);
    this._synchronize(shown);
    this._remark(outputs, shortened);
    return shown.length < outputs.length;
  }

  dispose(): void {
    if (this.isDisposed) {
      return;
    }
    this._model.dispose();
    super.dispose();
  }

  private _synchronize(outputs: readonly nbformat.IOutput[]): void {
    const model = this._model;
    const last = this._shown.length - 1;
    for (const [at, output] of outputs.entries()) {
      const before = this._shown[at];
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
  private _remark(outputs: readonly nbformat.IOutput[], shortened: boolean): void {
    const { trans } = this._options;
    const large = outputs.map(lengthOf).filter(length => length > MOST_CHARACTERS);
    const hidden = this._whole ? 0 : large.reduce((sum, length) => sum + length, 0);
    const key = `${shortened} ${hidden}`;
    if (key === this._remarked) {
      return;
    }
    this._remarked = key;
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
        this._model.clear();
        this.draw(outputs, shortened);
        this.parent?.node.focus();
      };
      remark.node.append(button);
    }
    if (shortened) {
      remark.node.append(trans.__('Shortened while the notebook runs; it is written whole.'));
    }
    this._remarks = remark;
    this.addWidget(remark);
  }

  private readonly _model = new OutputAreaModel({ trusted: false });
  private readonly _area: SimplifiedOutputArea;
  private _shown: readonly nbformat.IOutput[] = [];
  private _whole = false;
  private _remarked = 'false 0';
  private _remarks: Widget | null = null;
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
