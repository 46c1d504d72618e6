import { EventReader, follow, PATIENCE } from '../src/api/events';

const encoder = new TextEncoder();

/** A connection that gives these pieces, then is closed, or breaks. */
function connection(pieces: string[], breaks = false): ReadableStream<Uint8Array> {
  return new ReadableStream({
    pull: controller => {
      const piece = pieces.shift();
      if (piece !== undefined) {
        controller.enqueue(encoder.encode(piece));
      } else if (breaks) {
        controller.error(new TypeError('network error'));
      } else {
        controller.close();
      }
    }
  });
}

/** Everything that is followed, and the ids after which was asked. */
async function followed(
  connections: (ReadableStream<Uint8Array> | Error)[],
  lasting: (reason: unknown) => boolean = () => false
): Promise<{ data: string[]; asked: string[] }> {
  const asked: string[] = [];
  const data: string[] = [];
  const connect = async (after: string) => {
    asked.push(after);
    const next = connections.shift();
    if (next === undefined || next instanceof Error) {
      throw next ?? new Error('no more connections');
    }
    return next;
  };
  for await (const event of follow(connect, lasting, new AbortController().signal)) {
    data.push(event.data);
  }
  return { data, asked };
}

const END = 'event: end\ndata: {}\n\n';

beforeEach(() => {
  PATIENCE.first = 1;
  PATIENCE.last = 4;
});

describe('EventReader', () => {
  it('reads events however they are cut, with any line ends', () => {
    const text =
      'id: 7\r\nevent: note\r\ndata: {"a":1}\r\n\r\n: still here\n\nid:8\ndata:a\ndata: b\n\n';
    const whole = new EventReader().read(text);
    const reader = new EventReader();
    const cut = [...text].flatMap(character => reader.read(character));

    expect(whole).toEqual([
      { id: '7', name: 'note', data: '{"a":1}' },
      { id: '8', name: 'message', data: 'a\nb' }
    ]);
    expect(cut).toEqual(whole);
  });

  it('keeps what is not complete for itself', () => {
    expect(new EventReader().read('id: 1\ndata: half\n')).toEqual([]);
  });
});

describe('follow', () => {
  it('ends where the server says so', async () => {
    const { data } = await followed([connection(['id: 1\ndata: a\n\n', END])]);

    expect(data).toEqual(['a']);
  });

  it('takes up a connection that broke after the last event that arrived', async () => {
    const { data, asked } = await followed([
      connection(['id: 1\ndata: a\n\nid: 2\ndata: b\n\nid: 3\nda'], true),
      new TypeError('Failed to fetch'),
      connection(['id: 3\ndata: c\n\n']),
      connection([END])
    ]);

    expect(data).toEqual(['a', 'b', 'c']);
    expect(asked).toEqual(['', '2', '2', '3']);
  });

  it('throws what asking again would not mend', async () => {
    const gone = new Error('There is no such build.');

    await expect(followed([gone], reason => reason === gone)).rejects.toBe(gone);
  });

  it('ends quietly when nobody wants it any more', async () => {
    const abort = new AbortController();
    const endless = new ReadableStream<Uint8Array>({
      start: controller => controller.enqueue(encoder.encode('id: 1\ndata: a\n\n'))
    });
    const data: string[] = [];

    for await (const event of follow(
      async () => endless,
      () => false,
      abort.signal
    )) {
      data.push(event.data);
      abort.abort();
    }

    expect(data).toEqual(['a']);
  });

  it('decodes a character that arrives in two pieces', async () => {
    const bytes = encoder.encode(`id: 1\ndata: é\n\n${END}`);
    const halves = [bytes.slice(0, 13), bytes.slice(13)];
    const stream = new ReadableStream<Uint8Array>({
      start: controller => halves.forEach(half => controller.enqueue(half))
    });

    const { data } = await followed([stream]);

    expect(data).toEqual(['é']);
  });
});
