/**
 * From the generated `paths` to what a call takes and answers.
 */
import type {
  components as EnvironmentComponents,
  paths as EnvironmentPaths
} from './environments-schema';
import type { paths as ResourcePaths } from './resources-schema';
import type { components, paths } from './schema';

/** A run, as the record knows it. */
export type Run = components['schemas']['Run'];

type Environments = EnvironmentComponents['schemas'];

/** What the server says when something goes wrong: a sentence, and what to do about it. */
export type Problem = Environments['Problem'];

/** Everything to show about the environment of one notebook. */
export type NotebookEnvironment = Environments['NotebookEnvironment'];

/** What names the packages of a notebook. */
export type Definition = Environments['Definition'];

/** Why there is no environment, for a person. */
export type Failure = Environments['Failure'];

/** A place that packages come from. */
export type Origin = Failure['origins'][number];

/** One thing that a build tells. */
export type BuildEvent = Environments['BuildEvent'];

/** The environments of the store, and those that are offered by name. */
export type EnvironmentList = Environments['EnvironmentList'];

/** One environment of the store. */
export type EnvironmentSummary = EnvironmentList['items'][number];

/** An environment that is offered by name. */
export type SharedEnvironment = EnvironmentList['shared'][number];

/** What is known of a notebook before it is scheduled. */
export type Inspection = Environments['Inspection'];

/** One thing to know before a notebook is scheduled. */
export type Finding = Environments['Finding'];

/** One variable of the `parameters` cell. */
export type Parameter = Environments['Parameter'];

/** A snapshot that the control plane has, and where the notebook is in it. */
export type ISnapshot = Environments['TakenSnapshot'];

interface IPaths extends paths, EnvironmentPaths, ResourcePaths {}

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

/** What a call takes: values for the placeholders, a query, headers, a body. */
export interface ICall<O> {
  path?: Parameters<O, 'path'>;
  query?: Parameters<O, 'query'>;
  header?: Parameters<O, 'header'>;
  body?: O extends { requestBody?: infer Sent } ? Json<NonNullable<Sent>> : undefined;
}

type Good<Responses> = Responses[keyof Responses & (200 | 201 | 202)];

/** What a call answers when it goes well. */
export type Answer<O> = O extends { responses: infer Responses } ? Json<Good<Responses>> : never;

/** One event of a stream. */
export type Streamed<O> = O extends {
  responses: { 200: { content: { 'text/event-stream': infer Event } } };
}
  ? Event
  : never;

/** The paths below `/api/v1` that stream events. */
export type StreamPath = {
  [P in keyof IPaths]: IPaths[P] extends { get: infer O }
    ? [Streamed<O>] extends [never]
      ? never
      : Mounted<P>
    : never;
}[keyof IPaths];
