/**
 * What people read in the dialog.
 */
import { PathExt } from '@jupyterlab/coreutils';
import type { TranslationBundle } from '@jupyterlab/translation';

import type { OfferedSizes } from '../../account';
import type { components } from '../../api/schema';
import type { Finding, NotebookEnvironment } from '../../api/types';
import { size as bytes } from '../../resources/words';
import type { ScheduleModel } from './model';
import type { Size } from './place';
import { isFree } from './place';
import type { Repeat } from './when';
import { isZone } from './when';

/** What the dialog is about. */
export function titleOf(model: ScheduleModel, trans: TranslationBundle): string {
  return model.jobId !== null
    ? trans.__('Edit %1', model.jobId)
    : trans.__('Schedule %1', PathExt.basename(model.path ?? ''));
}

/** What the button does, or is doing. */
export function submitLabel(model: ScheduleModel, trans: TranslationBundle): string {
  const { state, form } = model;
  switch (state.kind) {
    case 'submitting':
      return trans.__('Submitting…');
    case 'exists':
      return trans.__('Replace');
  }
  if (state.kind === 'refused' && state.problem.code === 'unavailable') {
    return trans.__('Try again');
  }
  if (model.jobId !== null) {
    return trans.__('Save');
  }
  return form.when.kind === 'now' ? trans.__('Run') : trans.__('Schedule');
}

/** How often, as a choice. */
export function repeatLabel(repeat: Repeat, trans: TranslationBundle): string {
  switch (repeat) {
    case 'hourly':
      return trans.__('Every hour');
    case 'daily':
      return trans.__('Every day');
    case 'weekdays':
      return trans.__('Every weekday');
    case 'weekly':
      return trans.__('Every week');
    case 'monthly':
      return trans.__('Every month');
    case 'custom':
      return trans.__('Custom (cron)');
  }
}

/** The name of a day of the week; 0 is Sunday. */
export function dayName(day: number, style: 'long' | 'short' = 'short'): string {
  // 1 January 2023 was a Sunday
  return new Intl.DateTimeFormat(undefined, { weekday: style, timeZone: 'UTC' }).format(
    Date.UTC(2023, 0, 1 + day)
  );
}

/** An instant as the clock of a time zone shows it; that of the browser when it is not said. */
export function fireIn(at: string, timezone?: string): string {
  const moment = new Date(at);
  return new Intl.DateTimeFormat(undefined, {
    year: moment.getFullYear() === new Date().getFullYear() ? undefined : 'numeric',
    weekday: 'short',
    day: 'numeric',
    month: 'short',
    hour: '2-digit',
    minute: '2-digit',
    hourCycle: 'h23',
    timeZone: timezone && isZone(timezone) ? timezone : undefined
  }).format(moment);
}

/** How a turn of the clock bends a fire; nothing when it does not. */
export function bentLabel(
  dst: components['schemas']['Fire']['dst'],
  trans: TranslationBundle
): string | null {
  switch (dst) {
    case 'shifted':
      return trans.__('The clock skips this time: it runs right after.');
    case 'repeated':
      return trans.__('The clock shows this time twice.');
    default:
      return null;
  }
}

/** How much a finding matters. */
export function severityLabel(severity: Finding['severity'], trans: TranslationBundle): string {
  switch (severity) {
    case 'error':
      return trans.__('Error');
    case 'warning':
      return trans.__('Warning');
    case 'info':
      return trans.__('Note');
  }
}

/** How the environment of a notebook that is to be run stands. */
export function environmentWord(
  state: NotebookEnvironment['state'],
  trans: TranslationBundle
): string {
  switch (state) {
    case 'ready':
      return trans.__('ready');
    case 'building':
      return trans.__('building; the run waits for it');
    case 'failed':
      return trans.__('failed');
    case 'missing':
      return trans.__('not built yet; it is built first');
  }
}

/** A size with what it has. */
export function sizeLabel(size: Size, trans: TranslationBundle): string {
  return `${size.title}: ${amounts(size, trans)}`;
}

/** What a size is for, what it costs, and whether so much is free. */
export function sizeHint(size: Size, offered: OfferedSizes, trans: TranslationBundle): string {
  const { free, currency } = offered;
  const price = Number(size.price_per_hour);
  return [
    size.description,
    size.price_per_hour === null
      ? ''
      : trans.__('%1 %2 per hour.', new Intl.NumberFormat().format(price), currency),
    isFree(size, offered)
      ? trans.__('So much is free now.')
      : trans.__('It is more than is free now: %1.', amounts(free, trans))
  ]
    .filter(Boolean)
    .join(' ');
}

function amounts(
  { cpu, memory_bytes, gpu }: OfferedSizes['free'],
  trans: TranslationBundle
): string {
  const has = [trans._n('%1 CPU', '%1 CPUs', cpu), bytes(memory_bytes)];
  if (gpu) {
    has.push(trans._n('%1 GPU', '%1 GPUs', gpu));
  }
  return has.join(', ');
}
