/**
 * How high a cell will be, before it is drawn: so that what is below it stays about where it is.
 */
import type * as nbformat from '@jupyterlab/nbformat';

import type { ICell } from './cells';
import { joined } from './cells';

/** How high a line is, in pixels, and how many characters are on it. */
const LINE = 17;
const WIDTH = 130;

/** How high a row of a table is, in lines, and a picture whose size is not said. */
const ROW = 1.65;
const PICTURE = 18;

/** About how high a cell is, in pixels. */
export function heightOf({ source, firstLine, outputs }: ICell): number {
  const lines = linesOf(source ?? firstLine) + 1.5;
  return LINE * outputs.reduce((sum, output) => sum + outputLines(output), lines);
}

function outputLines(output: nbformat.IOutput): number {
  if (output.output_type === 'stream') {
    return linesOf(joined(output.text));
  }
  if (output.output_type === 'error') {
    return linesOf(joined(output.traceback));
  }
  const data = (output.data ?? {}) as nbformat.IMimeBundle;
  const types = Object.keys(data);
  if (types.includes('text/html')) {
    const html = joined(data['text/html']);
    return Math.max(1, ROW * (html.match(/<tr/gi)?.length ?? linesOf(html) / 4));
  }
  return types.some(type => type.startsWith('image/'))
    ? PICTURE
    : linesOf(joined(data['text/plain']));
}

function linesOf(text: string): number {
  let lines = 0;
  let start = 0;
  for (let end = 0; end >= 0; start = end + 1) {
    end = text.indexOf('\n', start);
    lines += Math.max(1, Math.ceil(((end < 0 ? text.length : end) - start) / WIDTH));
  }
  return lines;
}
