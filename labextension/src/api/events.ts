/**
 * Server-sent events over `fetch`, since an `EventSource` sends no headers and so cannot sign in.
 */

/** One event of a stream, as the HTML standard reads it (section 9.2). */
export interface IServerEvent {
  /** The id that a broken connection is taken up after. */
  id: string;
  /** `message` when the server names none. */
  name: string;
  data: string;
}

/** How long to wait before connecting again, in milliseconds: doubled each time, up to the last. */
export const PATIENCE = { first: 500, last: 30_000 };

/**
 * Reads events out of the pieces that a connection gives, wherever these are cut.
 */
export class EventReader {
  /** Take a piece; return the events that it completes. */
  read(piece: string): IServerEvent[] {
    // a line end of two characters may be cut in two
    this._rest += piece;
    const lines = this._rest.split(/\r\n|\n|\r(?!$)/);
    this._rest = lines.pop() ?? '';
    const events: IServerEvent[] = [];
    for (const line of lines) {
      if (line !== '') {
        this._field(line);
      } else {
        if (this._data.length > 0) {
          events.push({ id: this._id, name: this._name, data: this._data.join('\n') });
        }
        this._data = [];
        this._name = 'message';
      }
    }
    return events;
  }

  private _field(line: string): void {
    const [, field, value] = /^([^:]*):? ?(.*)$/s.exec(line) ?? [];
    switch (field) {
      case 'id':
        this._id = value;
        break;
      case 'event':
        this._name = value;
        break;
      case 'data':
        this._data.push(value);
        break;
      // a comment keeps the connection open, and says nothing
    }
  }

  private _rest = '';
  private _id = '';
  private _name = 'message';
  private _data: string[] = [];
}

/**
 * Connects, after the event with this id (`''` is from the start).
 *
 * Rejects when there is no stream; `lasting` says of the reason that asking again is of no use.
 */
export type Connect = (after: string) => Promise<ReadableStream<Uint8Array>>;

/**
 * Yield the events of a stream until the server ends it with an event `end`.
 *
 * A connection that breaks, or cannot be made, is made again after the last event that arrived;
 * only a reason that is `lasting` is thrown. Aborting the signal ends it quietly.
 */
export async function* follow(
  connect: Connect,
  lasting: (reason: unknown) => boolean,
  signal: AbortSignal
): AsyncGenerator<IServerEvent> {
  let after = '';
  let wait = PATIENCE.first;
  while (!signal.aborted) {
    try {
      for await (const event of received(await connect(after), signal)) {
        wait = PATIENCE.first;
        if (event.name === 'end') {
          return;
        }
        after = event.id || after;
        yield event;
      }
    } catch (reason) {
      if (!signal.aborted && lasting(reason)) {
        throw reason;
      }
    }
    await pause(wait, signal);
    wait = Math.min(2 * wait, PATIENCE.last);
  }
}

/** The events of one connection; breaks off with it. */
async function* received(
  stream: ReadableStream<Uint8Array>,
  signal: AbortSignal
): AsyncGenerator<IServerEvent> {
  const events = new EventReader();
  const decoder = new TextDecoder();
  const reader = stream.getReader();
  const leave = () => void reader.cancel().catch(() => undefined);
  signal.addEventListener('abort', leave);
  try {
    while (!signal.aborted) {
      const { done, value } = await reader.read();
      if (done) {
        return;
      }
      yield* events.read(decoder.decode(value, { stream: true }));
    }
  } finally {
    signal.removeEventListener('abort', leave);
    leave();
  }
}

function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
  return new Promise(resolve => {
    const done = () => {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, milliseconds);
    signal.addEventListener('abort', done);
    if (signal.aborted) {
      done();
    }
  });
}
