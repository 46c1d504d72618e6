import { URLExt } from '@jupyterlab/coreutils';
import { ServerConnection } from '@jupyterlab/services';

import type { IElementClient } from '../tokens';
import type { Problem } from './types';

/** Where the Jupyter server mounts the control plane. */
const MOUNT = 'element/api/v1';

interface IOptions {
  path?: unknown;
  query?: unknown;
  header?: unknown;
  body?: unknown;
}

/**
 * A call that did not succeed. `status` is 0 when nothing answered.
 */
export class ElementProblem extends Error {
  constructor(
    readonly status: number,
    readonly problem: Problem
  ) {
    super(problem.hint ? `${problem.message} ${problem.hint}` : problem.message);
    this.name = 'ElementProblem';
  }
}

/** What to show of anything that went wrong. */
export function problemOf(reason: unknown): Problem {
  return reason instanceof ElementProblem
    ? reason.problem
    : {
        code: 'failed',
        message: reason instanceof Error ? reason.message : String(reason),
        hint: '',
        field: null,
        details: ''
      };
}

/**
 * The client of the control plane, through the person's own Jupyter server.
 */
export class ElementClient implements IElementClient {
  constructor(private readonly _settings: ServerConnection.ISettings) {}

  // the interface checks the callers; here every operation is the same
  async call(verb: string, path: string, options: IOptions = {}): Promise<never> {
    const response = await this._request(path, options, {
      method: verb.toUpperCase(),
      headers: {
        'Content-Type': 'application/json',
        ...(options.header as Record<string, string> | undefined)
      },
      body: options.body === undefined ? undefined : JSON.stringify(options.body)
    });
    return parsed(await response.text()) as never;
  }

  async *follow(
    path: string,
    options: IOptions & { signal: AbortSignal; named?: boolean }
  ): AsyncGenerator<never, void> {
    const { follow } = await import('./events');
    const { signal, named } = options;
    const connect = async (after: string) => {
      const headers: Record<string, string> = { Accept: 'text/event-stream' };
      if (after) {
        headers['Last-Event-ID'] = after;
      }
      const { body } = await this._request(path, options, { headers, signal });
      return body ?? new ReadableStream();
    };
    for await (const { name, data } of follow(connect, isLasting, signal)) {
      const said = parsed(data);
      if (name === 'problem') {
        throw new ElementProblem(500, said as Problem);
      }
      if (said !== undefined) {
        yield (named ? { [name]: said } : said) as never;
      }
    }
  }

  private async _request(path: string, options: IOptions, init: RequestInit): Promise<Response> {
    const url = URLExt.join(
      this._settings.baseUrl,
      MOUNT,
      filled(path, options.path) + queried(options.query)
    );
    // asks again, without the timestamp that JupyterLab adds to the query
    init = { cache: 'no-cache', ...init };
    let response: Response;
    try {
      response = await ServerConnection.makeRequest(url, init, this._settings);
    } catch (reason) {
      throw new ElementProblem(0, {
        code: 'unavailable',
        message: 'The Jupyter server did not answer.',
        hint: reason instanceof Error ? reason.message : '',
        field: null,
        details: ''
      });
    }
    if (!response.ok) {
      throw new ElementProblem(response.status, answered(response, parsed(await response.text())));
    }
    return response;
  }
}

/** Whether asking the same again can only be refused again. */
function isLasting(reason: unknown): boolean {
  const status = reason instanceof ElementProblem ? reason.status : 0;
  return status >= 400 && status < 500 && status !== 408 && status !== 429;
}

function filled(path: string, values: unknown): string {
  const given = new Map(Object.entries(values ?? {}));
  return path.replace(/\{(\w+)\}/g, (_, name: string) => {
    return encodeURIComponent(String(given.get(name)));
  });
}

function queried(values: unknown): string {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(values ?? {})) {
    if (value !== undefined && value !== null) {
      query.append(name, String(value));
    }
  }
  return query.size ? `?${query}` : '';
}

/** The JSON of an answer, or undefined: a proxy on the way answers in HTML. */
function parsed(text: string): unknown {
  try {
    return text ? JSON.parse(text) : undefined;
  } catch {
    return undefined;
  }
}

function answered(response: Response, answer: unknown): Problem {
  const said = (answer ?? {}) as Partial<Problem>;
  return {
    code: said.code ?? 'failed',
    message:
      said.message || `The server answered ${response.status} ${response.statusText}`.trim() + '.',
    hint: said.hint ?? '',
    field: said.field ?? null,
    details: said.details ?? ''
  };
}
