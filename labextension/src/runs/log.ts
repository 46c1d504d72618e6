/**
 * The log of a run: everything it told, as lines with their times.
 */
import type { TranslationBundle } from '@jupyterlab/translation';

import { joined } from './cells';
import type { RunEvent } from './events';
import { lasted, stateWord, valueText } from './words';

/** One line. */
export interface ILogLine {
  readonly at: string;
  readonly kind: 'state' | 'cell' | 'text' | 'note' | 'warning';
  readonly text: string;
}

/** A change of the run's state. */
export interface IMoment {
  readonly at: string;
  readonly word: string;
  readonly reason: string;
}

/** How many lines are kept. */
const MOST_LINES = 50_000;

// eslint-disable-next-line no-control-regex
const ESCAPES = /\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-_])/g;

/** Makes lines of events, in order. */
export class RunLog {
  constructor(private readonly _trans: TranslationBundle) {}

  get lines(): readonly ILogLine[] {
    return this._lines;
  }

  get moments(): readonly IMoment[] {
    return this._moments;
  }

  /** Rises with every change. */
  get revision(): number {
    return this._revision;
  }

  /** Take one event; the caller passes over those that it has taken. */
  take(event: RunEvent): void {
    const trans = this._trans;
    const { at } = event;
    this._revision += 1;
    if (event.kind !== 'output') {
      this._open = null;
    }
    switch (event.kind) {
      case 'state_changed': {
        const word = stateWord(event.state, trans);
        this._moment(at, word, event.reason);
        break;
      }
      case 'run_started':
        this._moment(
          at,
          stateWord('running', trans),
          trans._n('%1 cell, kernel %2', '%1 cells, kernel %2', event.cells_total, event.kernel)
        );
        break;
      case 'cell_started':
        this._add(at, 'cell', trans.__('Cell %1: %2', event.index + 1, event.first_line));
        break;
      case 'cell_finished': {
        const number = event.index + 1;
        const span = lasted(event.duration_seconds, trans);
        this._add(
          at,
          'cell',
          event.ok
            ? trans.__('Cell %1 ended after %2', number, span)
            : trans.__('Cell %1 failed after %2', number, span)
        );
        break;
      }
      case 'output':
        this._output(at, event.index, event.output);
        break;
      case 'recorded':
        this._add(
          at,
          'note',
          trans.__('Recorded: %1 = %2', event.name, valueText(event.value).slice(0, 500))
        );
        break;
      case 'note':
        this._add(at, event.level === 'warning' ? 'warning' : 'note', event.message);
        break;
      case 'run_finished':
        this._moment(at, stateWord(event.state, trans), event.reason);
        break;
    }
  }

  private _moment(at: string, word: string, reason: string): void {
    this._moments.push({ at, word, reason });
    this._add(at, 'state', reason ? `${word}. ${reason}` : word);
  }

  private _output(at: string, index: number, output: Record<string, unknown>): void {
    if (output.output_type === 'error') {
      this._open = null;
      this._add(at, 'warning', `${plain(output.ename)}: ${plain(output.evalue)}`);
    } else if (output.output_type === 'stream') {
      this._print(at, `${index} ${String(output.name)}`, plain(joined(output.text)));
    }
  }

  /** Go on with the line that this stream has begun, as a terminal would. */
  private _print(at: string, stream: string, text: string): void {
    const [first, ...rest] = text.split('\n');
    if (this._open === stream && this._lines.length) {
      const last = this._lines[this._lines.length - 1];
      this._lines[this._lines.length - 1] = { ...last, text: overwritten(last.text + first) };
    } else {
      rest.unshift(first);
    }
    // what follows the last line end is a line only once there is something in it
    const begun = rest.length && rest[rest.length - 1] === '';
    for (const line of begun ? rest.slice(0, -1) : rest) {
      this._add(at, 'text', overwritten(line));
    }
    if (rest.length) {
      this._open = begun ? null : stream;
    }
  }

  private _add(at: string, kind: ILogLine['kind'], text: string): void {
    this._lines.push({ at, kind, text });
    if (this._lines.length > MOST_LINES) {
      this._lines = this._lines.slice(MOST_LINES / 10);
    }
  }

  private _lines: ILogLine[] = [];
  private readonly _moments: IMoment[] = [];
  private _revision = 0;
  /** The stream whose last line has not ended. */
  private _open: string | null = null;
}

/** A line of the log as text. */
export function logText(line: ILogLine): string {
  return `${new Date(line.at).toISOString().slice(0, 19)}Z ${line.text}`;
}

function plain(text: unknown): string {
  return String(text ?? '').replace(ESCAPES, '');
}

/** What a line shows after what it returned over; the last return waits for what comes. */
function overwritten(line: string): string {
  const end = line.endsWith('\r') ? '\r' : '';
  const shown = line.slice(0, line.length - end.length);
  return shown.slice(shown.lastIndexOf('\r') + 1) + end;
}
