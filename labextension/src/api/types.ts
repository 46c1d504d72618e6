/**
 * From the generated `paths` to what a call takes and answers.
 */
import type { paths } from './schema';

/** A path of the REST interface, with its `{placeholders}`. */
export type Path = keyof paths & string;

/** The verbs that a path knows. */
export type Verb<P extends Path> = {
  [V in keyof paths[P]]: paths[P][V] extends { responses: unknown } ? V : never;
}[keyof paths[P]] &
  string;

type Operation<P extends Path, V extends Verb<P>> = paths[P][V & keyof paths[P]];

type Parameters<O, Where extends string> = O extends {
  parameters: { [W in Where]: infer Values };
}
  ? Values
  : never;

type Body<O> = O extends {
  requestBody: { content: { 'application/json': infer Json } };
}
  ? Json
  : O extends { requestBody?: { content: { 'application/json': infer Json } } }
    ? Json
    : never;

type Good = 200 | 201 | 202;

/** What a call takes: values for the placeholders, a query, a body. */
export interface Call<P extends Path, V extends Verb<P>> {
  path?: Parameters<Operation<P, V>, 'path'>;
  query?: Parameters<Operation<P, V>, 'query'>;
  body?: Body<Operation<P, V>>;
}

/** What a call answers when it goes well. */
export type Answer<P extends Path, V extends Verb<P>> =
  Operation<P, V> extends { responses: infer Responses }
    ? {
        [Status in keyof Responses & Good]: Responses[Status] extends {
          content: { 'application/json': infer Json };
        }
          ? Json
          : undefined;
      }[keyof Responses & Good]
    : never;
