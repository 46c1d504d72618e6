import { ServerConnection } from '@jupyterlab/services';

import { ElementClient, ElementProblem } from '../src/api/client';
import type { BuildEvent } from '../src/api/types';
import type { IElementClient } from '../src/tokens';

const seen: Request[] = [];

/** A client whose server answers every request with this. */
function answering(body: string, init: ResponseInit = {}): IElementClient {
  seen.length = 0;
  const settings = ServerConnection.makeSettings({
    baseUrl: 'http://lab.example/user/ada/',
    fetch: async (input: RequestInfo, options?: RequestInit) => {
      seen.push(new Request(input, options));
      return new Response(body, init);
    }
  });
  return new ElementClient(settings);
}

describe('ElementClient', () => {
  it('asks the Jupyter server, below its base URL, and gives back the JSON', async () => {
    const client = answering('{"run_id": "r-1", "state": "running"}');

    const run = await client.call('get', '/runs/{run_id}', { path: { run_id: 'r-1' } });

    expect(run.state).toBe('running');
    expect(seen[0].url).toBe('http://lab.example/user/ada/element/api/v1/runs/r-1');
  });

  it('keeps a name from changing the path', async () => {
    const client = answering('{}');

    await client.call('get', '/runs/{run_id}', { path: { run_id: '../jobs?x=1' } });

    expect(seen[0].url).toMatch(/\/element\/api\/v1\/runs\/\.\.%2Fjobs%3Fx%3D1$/);
  });

  it('sends the body as JSON', async () => {
    const client = answering('{}', { status: 201 });

    await client.call('post', '/snapshots', { body: { path: 'a b/ü.ipynb' } });

    expect(seen[0].method).toBe('POST');
    expect(await seen[0].json()).toEqual({ path: 'a b/ü.ipynb' });
    expect(seen[0].headers.get('content-type')).toContain('application/json');
  });

  it('sends the headers that a call has', async () => {
    const client = answering('', { status: 200 });

    await client.call('delete', '/jobs/{team}/{name}', {
      path: { team: 'ada', name: 'daily' },
      header: { 'If-Match': '"3"' }
    });

    expect(seen[0].headers.get('if-match')).toBe('"3"');
  });

  it("rejects with the server's sentence and its hint", async () => {
    const problem = {
      code: 'unavailable',
      message: 'The platform is not running.',
      hint: 'Start it with `element up`.'
    };
    const client = answering(JSON.stringify(problem), { status: 503 });

    const call = client.call('get', '/runs/{run_id}', { path: { run_id: 'r-1' } });

    await expect(call).rejects.toMatchObject({
      status: 503,
      message: 'The platform is not running. Start it with `element up`.',
      problem
    });
  });

  it('survives the HTML of a proxy', async () => {
    const client = answering('<html>Bad gateway</html>', {
      status: 502,
      statusText: 'Bad Gateway'
    });

    const call = client.call('get', '/runs/{run_id}', { path: { run_id: 'r-1' } });

    await expect(call).rejects.toMatchObject({
      status: 502,
      message: 'The server answered 502 Bad Gateway.'
    });
  });

  it('says when the Jupyter server does not answer at all', async () => {
    const settings = ServerConnection.makeSettings({
      fetch: () => Promise.reject(new TypeError('Failed to fetch'))
    });

    const client: IElementClient = new ElementClient(settings);
    const call = client.call('post', '/snapshots', {
      body: { path: 'a.ipynb' }
    });

    await expect(call).rejects.toBeInstanceOf(ElementProblem);
    await expect(call).rejects.toMatchObject({
      status: 0,
      problem: { message: 'The Jupyter server did not answer.' }
    });
  });

  it('follows a stream, and asks for what came after the last event when it breaks', async () => {
    const pieces = ['id: 1\ndata: {"phase": "resolving"}\n\n', 'event: end\ndata: {}\n\n'];
    const client = streaming(() => new Response(pieces.shift()));
    const phases: string[] = [];

    for await (const event of build(client)) {
      phases.push(event.phase);
    }

    expect(phases).toEqual(['resolving']);
    expect(seen.map(request => request.headers.get('last-event-id'))).toEqual([null, '1']);
    expect(seen[0].url).toMatch(/\/element\/api\/v1\/environments\/builds\/b%2F1\/events$/);
    expect(seen[0].headers.get('accept')).toBe('text/event-stream');
  });

  it('gives what a stream tells by the names of its events, where these say what it is', async () => {
    const told = 'event: sample\ndata: {"at": "now"}\n\nevent: end\ndata: {}\n\n';
    const client = streaming(() => new Response(told));
    const { signal } = new AbortController();

    const events = client.follow('/resources/events', { signal, named: true });

    for await (const event of events) {
      expect(event).toEqual({ sample: { at: 'now' } });
    }
    expect.assertions(1);
  });

  it('throws what a stream says has gone wrong', async () => {
    const problem = 'event: problem\ndata: {"code": "failed", "message": "It broke."}\n\n';
    const client = streaming(() => new Response(problem));

    await expect(build(client).next()).rejects.toMatchObject({ problem: { message: 'It broke.' } });
  });

  it('follows nothing that the server does not know', async () => {
    const client = streaming(() => new Response('{"code": "not_found"}', { status: 404 }));

    await expect(build(client).next()).rejects.toMatchObject({ status: 404 });
    expect(seen).toHaveLength(1);
  });
});

/** A client whose server answers each request with the next of these. */
function streaming(answer: () => Response): IElementClient {
  seen.length = 0;
  const settings = ServerConnection.makeSettings({
    baseUrl: 'http://lab.example/user/ada/',
    fetch: async (input: RequestInfo, options?: RequestInit) => {
      seen.push(new Request(input, options));
      return answer();
    }
  });
  return new ElementClient(settings);
}

function build(client: IElementClient) {
  const stream = client.follow('/environments/builds/{build_id}/events', {
    path: { build_id: 'b/1' },
    signal: new AbortController().signal
  });
  return stream as AsyncGenerator<BuildEvent>;
}
