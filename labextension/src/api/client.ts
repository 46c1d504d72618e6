import { URLExt } from '@jupyterlab/coreutils';
import { ServerConnection } from '@jupyterlab/services';

import type { IElementClient } from '../tokens';
import type { Problem } from './types';

/** Where the Jupyter server mounts the control plane. */
const MOUNT = 'element/api/v1';

interface IOptions {
  path?: unknown;
  query?: unknown;
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

/**
 * The client of the control plane, through the person's own Jupyter server.
 */
export class ElementClient implements IElementClient {
  constructor(private readonly _settings: ServerConnection.ISettings) {}

  // the interface checks the callers; here every operation is the same
  async call(verb: string, path: string, options: IOptions = {}): Promise<never> {
    const url = URLExt.join(
      this._settings.baseUrl,
      MOUNT,
      filled(path, options.path) + queried(options.query)
    );
    const init: RequestInit = {
      method: verb.toUpperCase(),
      cache: 'no-cache', // asks again, without the timestamp that JupyterLab adds to the query
      headers: { 'Content-Type': 'application/json' },
      body: options.body === undefined ? undefined : JSON.stringify(options.body)
    };
    let response: Response;
    try {
      response = await ServerConnection.makeRequest(url, init, this._settings);
    } catch (reason) {
      throw new ElementProblem(0, {
        code: 'unavailable',
        message: 'The Jupyter server did not answer.',
        hint: reason instanceof Error ? reason.message : '',
        field: null
      });
    }
    const answer = parsed(await response.text());
    if (!response.ok) {
      throw new ElementProblem(response.status, problemOf(response, answer));
    }
    return answer as never;
  }
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

function problemOf(response: Response, answer: unknown): Problem {
  const said = (answer ?? {}) as Partial<Problem>;
  return {
    code: said.code ?? 'failed',
    message:
      said.message || `The server answered ${response.status} ${response.statusText}`.trim() + '.',
    hint: said.hint ?? '',
    field: said.field ?? null
  };
}
