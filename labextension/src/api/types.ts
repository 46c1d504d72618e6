/**
 * From the generated `paths` to what a call takes and answers.
 */
import type { components, paths } from './schema';

/** A run, as the record knows it. */
export type Run = components['schemas']['Run'];

/** What the server says when something goes wrong: a sentence, and what to do about it. */
export type Problem = components['schemas']['Problem'];

/** A snapshot that the control plane has, and where the notebook is in it. */
export interface ISnapshot {
  snapshot_id: string;
  root: string;
  notebook: string;
  size_bytes: number;
  file_count: number;
  warnings: string[];
}

/** What the Jupyter server answers itself: element_jupyter/server/snapshots.py. */
interface IOwnPaths {
  '/api/v1/snapshots': {
    post: {
      requestBody: { content: { 'application/json': { path: string } } };
      responses: { 201: { content: { 'application/json': ISnapshot } } };
    };
  };
}

interface IPaths extends paths, IOwnPaths {}

/** What one may do with a path. */
export type Verb = 'get' | 'post' | 'put' | 'delete';

type Mounted<P> = P extends `/api/v1${infer Rest}` ? Rest : never;

/** The paths below `/api/v1` that know a verb, with their `{placeholders}`. */
export type Path<V extends Verb> = {
  [P in keyof IPaths]: IPaths[P] extends { [K in V]: { responses: unknown } } ? Mounted<P> : never;
}[keyof IPaths];

/** The operation behind a verb and a path. */
export type Operation<V extends Verb, P extends string> = `/api/v1${P}` extends keyof IPaths
  ? IPaths[`/api/v1${P}`] extends { [K in V]: infer O }
    ? O
    : never
  : never;

type Json<C> = C extends { content: { 'application/json': infer Value } } ? Value : undefined;

type Parameters<O, Where extends string> = O extends {
  parameters: { [W in Where]?: infer Values };
}
  ? Values
  : never;

/** What a call takes: values for the placeholders, a query, a body. */
export interface ICall<O> {
  path?: Parameters<O, 'path'>;
  query?: Parameters<O, 'query'>;
  body?: O extends { requestBody?: infer Sent } ? Json<NonNullable<Sent>> : undefined;
}

type Good<Responses> = Responses[keyof Responses & (200 | 201 | 202)];

/** What a call answers when it goes well. */
export type Answer<O> = O extends { responses: infer Responses } ? Json<Good<Responses>> : never;
