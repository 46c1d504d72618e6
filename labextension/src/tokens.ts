/**
 * What other extensions may require of Element.
 */
import { Token } from '@lumino/coreutils';

import type { Answer, ICall, Operation, Path, Streamed, StreamPath, Verb } from './api/types';

/**
 * The control plane's REST interface, as the person who is signed in to JupyterLab.
 */
export interface IElementClient {
  /**
   * Call one operation; verb, path, body and answer are checked against the service's own types.
   *
   * Rejects with an `ElementProblem`, whatever went wrong.
   */
  call<V extends Verb, P extends Path<V>>(
    verb: V,
    path: P,
    options?: ICall<Operation<V, P>>
  ): Promise<Answer<Operation<V, P>>>;

  /**
   * Follow a stream of events until the server ends it, or the signal is aborted.
   *
   * A connection that breaks is taken up again after the last event that arrived. Throws an
   * `ElementProblem` when the server refuses. Where the names of events say what their data are,
   * `named` gives each as an object with its data below its name.
   */
  follow<P extends StreamPath>(
    path: P,
    options: Pick<ICall<Operation<'get', P>>, 'path' | 'query'> & {
      signal: AbortSignal;
      named?: boolean;
    }
  ): AsyncIterable<Streamed<Operation<'get', P>>>;
}

/**
 * The token of the client.
 */
export const IElementClient = new Token<IElementClient>(
  '@element/labextension:IElementClient',
  'A typed client of the Element control plane.'
);
