/**
 * Everything that is typed in the dialog, what is wrong with it, and what is sent for it.
 */
import type { TranslationBundle } from '@jupyterlab/translation';

import type { components } from '../../api/schema';
import type { Parameter, Problem } from '../../api/types';
import type { ITyped } from './values';
import { isDefault, parameterFor, read, typedOf } from './values';
import type { IWhen } from './when';
import { fresh, isZone, ownZone, scheduleOf, whenOf } from './when';

type Schemas = components['schemas'];
export type Job = Schemas['Job'];
export type JobInput = Schemas['JobInput'];
export type RunRequest = Schemas['RunRequest'];
export type CatchUp = Schemas['CatchUp'];

/** What stands in the dialog. */
export interface IForm {
  readonly name: string;
  readonly when: IWhen;
  /** The parameters that were changed, by name. */
  readonly given: ReadonlyMap<string, ITyped>;
  /** Longest duration in minutes; empty for what is usual. */
  readonly minutes: string;
  readonly retries: string;
  readonly catchUp: CatchUp;
  readonly pool: string;
  /** The name of a size; empty for the one that is proposed. */
  readonly size: string;
  /** Empty for the one that is proposed. */
  readonly team: string;
  /** Of a job that is there: who owns it from now on. */
  readonly owner: string;
  /** Of a job that is there: whether it gets the notebook as it is now. */
  readonly update: boolean;
}

/** Where a fault is, and which. */
export type Faults = ReadonlyMap<string, string>;

/** As the dialog opens for a notebook. */
export function emptyForm(name: string): IForm {
  return {
    name,
    when: fresh(ownZone()),
    given: new Map(),
    minutes: '',
    retries: '0',
    catchUp: 'latest',
    pool: '',
    size: '',
    team: '',
    owner: '',
    update: false
  };
}

/** As the dialog opens for a job. */
export function formOf(job: Job): IForm {
  const [task] = job.tasks;
  const seconds = task.time_limit_seconds;
  return {
    name: job.name,
    when: whenOf(job.schedule, ownZone()),
    given: new Map(),
    minutes: seconds === null ? '' : String(seconds / 60),
    retries: String(task.retries),
    catchUp: job.catch_up,
    pool: task.pool ?? '',
    size: job.size ?? '',
    team: job.team,
    owner: job.owner,
    update: false
  };
}

/** Values as they would have been typed; those that the notebook does not know have no place. */
export function givenOf(
  values: Record<string, unknown>,
  parameters: readonly Parameter[]
): Map<string, ITyped> {
  const names = new Set(Object.keys(values));
  const known = parameters.filter(({ name }) => names.has(name));
  return new Map(known.map(each => [each.name, typedOf(each, values[each.name])]));
}

/** The parameters of a notebook, and after them those that are given and not declared. */
export function withGiven(
  parameters: readonly Parameter[],
  values: Record<string, unknown>
): Parameter[] {
  const names = new Set(parameters.map(({ name }) => name));
  const others = Object.keys(values).filter(name => !names.has(name));
  return [...parameters, ...others.map(name => parameterFor(name, values[name]))];
}

/** The values to send; of a job that is there, also those that the notebook has anyway. */
export function valuesOf(
  form: IForm,
  parameters: readonly Parameter[],
  trans: TranslationBundle,
  { all = false } = {}
): Record<string, unknown> {
  const values: [string, unknown][] = [];
  for (const parameter of parameters) {
    const typed = form.given.get(parameter.name);
    const reading = typed && read(parameter, typed, trans);
    if (reading?.kind === 'value' && (all || !isDefault(parameter, reading.value))) {
      values.push([parameter.name, reading.value]);
    }
  }
  return Object.fromEntries(values);
}

/** What is wrong with what is typed, by field; nothing has been asked of the server. */
export function faultsOf(
  form: IForm,
  parameters: readonly Parameter[],
  trans: TranslationBundle
): Map<string, string> {
  const faults = new Map<string, string>();
  const { when } = form;
  if (when.kind !== 'now') {
    if (!/^[a-z0-9]+(?:[._-][a-z0-9]+)*$/.test(form.name) || form.name.length > 63) {
      faults.set(
        'name',
        trans.__(
          'Give up to 63 lower-case letters and digits, with single dots, dashes or underscores between them.'
        )
      );
    }
    if (!/^\d+$/.test(form.retries.trim()) || Number(form.retries) > 20) {
      faults.set('retries', trans.__('Give a whole number from 0 to 20.'));
    }
  }
  if ((when.kind === 'cron' || when.kind === 'once') && !isZone(when.timezone)) {
    faults.set('schedule.timezone', trans.__('There is no such time zone.'));
  }
  if (when.kind === 'cron') {
    if (when.repeat === 'weekly' && when.days.length === 0) {
      faults.set('schedule.days', trans.__('Choose at least one day.'));
    }
    if (when.repeat === 'custom' && !when.expression.trim()) {
      faults.set('schedule.expression', trans.__('Give five fields, such as 0 6 * * 1-5.'));
    }
    if (when.repeat !== 'custom' && !when.time) {
      faults.set('schedule.time', trans.__('Give a time of day.'));
    }
  }
  if (when.kind === 'once' && !when.at) {
    faults.set('schedule.at', trans.__('Give a date and a time.'));
  }
  if (when.kind === 'asset' && !when.jobs.some(job => job.trim())) {
    faults.set('schedule.jobs.0', trans.__('Name at least one job, as team/name.'));
  }
  for (const parameter of parameters) {
    const typed = form.given.get(parameter.name);
    const reading = typed && read(parameter, typed, trans);
    if (reading?.kind === 'wrong') {
      faults.set(`parameters.${parameter.name}`, reading.why);
    }
  }
  if (form.minutes.trim() && !(Number(form.minutes) * 60 >= 1 && isFinite(Number(form.minutes)))) {
    faults.set('time_limit_seconds', trans.__('Give a number of minutes, or nothing.'));
  }
  return faults;
}

/**
 * The fields that are on the screen.
 *
 * @param job - the job that is edited, or null
 */
export function fieldsOf(
  form: IForm,
  parameters: readonly Parameter[],
  job: Job | null
): Set<string> {
  const { when } = form;
  const fields = new Set(parameters.map(({ name }) => `parameters.${name}`));
  if (job === null && when.kind !== 'now') {
    fields.add('name');
  }
  if (!hasSeveral(job)) {
    fields.add('time_limit_seconds');
    if (when.kind !== 'now') {
      fields.add('retries').add('pool');
    }
  }
  if (when.kind === 'cron') {
    fields.add('schedule.timezone');
    fields.add(when.repeat === 'custom' ? 'schedule.expression' : 'schedule.time');
    if (when.repeat === 'weekly') {
      fields.add('schedule.days');
    }
  }
  if (when.kind === 'once') {
    fields.add('schedule.timezone').add('schedule.at');
  }
  if (when.kind === 'asset') {
    [...when.jobs, ''].forEach((_, number) => fields.add(`schedule.jobs.${number}`));
  }
  return fields;
}

/** Whether a job has several notebooks; the dialog shows neither their parameters nor limits. */
export function hasSeveral(job: Job | null): boolean {
  return job !== null && job.tasks.length > 1;
}

/** The field of the dialog that the server means, and its sentence without the field's name. */
export function placed({ field, message, hint }: Problem): { field: string; why: string } {
  const plain = (field ?? '').replace(/^tasks\.\d+\./, '');
  const said =
    field && message.startsWith(`${field}: `) ? message.slice(field.length + 2) : message;
  const sentence = said.charAt(0).toUpperCase() + said.slice(1);
  return { field: plain, why: [sentence, hint].filter(Boolean).join(' ') };
}

/** Where something runs, and for whom; null and nothing are what is usual. */
export interface IPlace {
  readonly size: string | null;
  readonly team?: string;
}

/** A run, now. */
export function runOf(
  form: IForm,
  snapshot: { snapshot_id: string; notebook: string },
  { size, team }: IPlace,
  parameters: Record<string, unknown>,
  idempotencyKey: string
): RunRequest {
  return {
    notebook: snapshot.notebook,
    snapshot_id: snapshot.snapshot_id,
    parameters,
    size: size ?? undefined,
    team,
    time_limit_seconds: secondsOf(form.minutes),
    trigger: 'manual',
    idempotency_key: idempotencyKey
  };
}

/** A job that is new. */
export function jobOf(
  form: IForm,
  snapshot: { snapshot_id: string; notebook: string },
  { team, owner, size }: IPlace & { team: string; owner: string },
  parameters: Record<string, unknown>
): JobInput {
  return {
    team,
    owner,
    name: form.name,
    snapshot_id: snapshot.snapshot_id,
    size,
    schedule: scheduleOf(form.when),
    catch_up: form.catchUp,
    tasks: [{ notebook: snapshot.notebook, parameters, ...optionsOf(form) }]
  };
}

/** A job that is there, changed; what the dialog does not show stays as it is. */
export function changedJob(
  job: Job,
  form: IForm,
  snapshot: { snapshot_id: string; notebook: string } | null,
  parameters: Record<string, unknown>
): JobInput {
  const [task] = job.tasks;
  const tasks = hasSeveral(job)
    ? job.tasks
    : [
        {
          ...task,
          ...(snapshot && { notebook: snapshot.notebook }),
          parameters,
          ...optionsOf(form)
        }
      ];
  return {
    ...job,
    snapshot_id: snapshot?.snapshot_id ?? job.snapshot_id,
    size: form.size || null,
    owner: form.owner,
    schedule: scheduleOf(form.when),
    catch_up: form.catchUp,
    tasks
  };
}

function optionsOf(form: IForm): {
  retries: number;
  time_limit_seconds: number | null;
  pool: string | null;
} {
  return {
    retries: Number(form.retries),
    time_limit_seconds: secondsOf(form.minutes),
    pool: form.pool.trim() || null
  };
}

function secondsOf(minutes: string): number | null {
  return minutes.trim() ? Math.round(Number(minutes) * 60) : null;
}
