/**
 * When a job runs, as it is chosen, and as the service says it.
 */
import type { components } from '../../api/schema';

type Schemas = components['schemas'];

/** A schedule as the service is told. */
export type ScheduleInput = Schemas['ScheduleInput'];

/** The ways a job may come to run; `now` is no schedule, and neither is `never`. */
export type Kind = 'now' | 'cron' | 'once' | 'asset' | 'never';

/** How often. */
export type Repeat = 'hourly' | 'daily' | 'weekdays' | 'weekly' | 'monthly' | 'custom';

/** Everything that can be chosen; what is not on the screen keeps its value. */
export interface IWhen {
  readonly kind: Kind;
  readonly repeat: Repeat;
  /** Time of day, `HH:MM`; of `hourly`, its minutes count. */
  readonly time: string;
  /** Days of the week; 0 is Sunday. */
  readonly days: readonly number[];
  /** Day of the month, or `L` for its last. */
  readonly day: string;
  /** Of `custom`; empty until that was chosen. */
  readonly expression: string;
  readonly timezone: string;
  /** A time of the wall clock, `YYYY-MM-DDTHH:MM`. */
  readonly at: string;
  /** Jobs to wait for, as `team/name`. */
  readonly jobs: readonly string[];
  /** What the dialog does not show, and keeps. */
  readonly bounds: { start?: string | null; end?: string | null };
}

/** As the dialog opens. */
export function fresh(timezone: string, now = new Date()): IWhen {
  const hour = new Date(now.getTime() + 3_600_000);
  return {
    kind: 'now',
    repeat: 'weekdays',
    time: '06:00',
    days: [1],
    day: '1',
    expression: '',
    timezone,
    at: `${wallTime(hour, timezone).slice(0, 14)}00`,
    jobs: [],
    bounds: {}
  };
}

/** The five fields of cron. */
export function expressionOf(when: IWhen): string {
  const [hour, minute] = when.time.split(':').map(Number);
  const at = `${minute || 0} ${hour || 0}`;
  switch (when.repeat) {
    case 'hourly':
      return `${minute || 0} * * * *`;
    case 'daily':
      return `${at} * * *`;
    case 'weekdays':
      return `${at} * * 1-5`;
    case 'weekly':
      return `${at} * * ${[...when.days].sort((a, b) => a - b).join(',')}`;
    case 'monthly':
      return `${at} ${when.day} * *`;
    case 'custom':
      return when.expression.trim();
  }
}

const PRESETS: Record<string, string> = {
  hourly: '0 * * * *',
  daily: '0 6 * * *',
  weekdays: '0 6 * * 1-5',
  weekly: '0 6 * * 1',
  monthly: '0 6 1 * *'
};

/** The choices that five fields, or a preset, come from; `custom` when none gives them. */
export function choicesOf(
  expression: string
): Partial<Pick<IWhen, 'repeat' | 'time' | 'days' | 'day' | 'expression'>> {
  const fields = PRESETS[expression.trim()] ?? expression.trim();
  const found = /^(\d{1,2}) (\d{1,2}|\*) (\d{1,2}|L|\*) \* (\*|1-5|[0-7](?:,[0-7])*)$/.exec(fields);
  const custom = { repeat: 'custom', expression } as const;
  if (!found) {
    return custom;
  }
  const [, minute, hour, day, weekday] = found;
  if (hour === '*') {
    return day === '*' && weekday === '*'
      ? { repeat: 'hourly', time: `00:${two(minute)}` }
      : custom;
  }
  const known = { time: `${two(hour)}:${two(minute)}` };
  if (day !== '*') {
    return weekday === '*' ? { repeat: 'monthly', day, ...known } : custom;
  }
  if (weekday === '*') {
    return { repeat: 'daily', ...known };
  }
  if (weekday === '1-5') {
    return { repeat: 'weekdays', ...known };
  }
  const days = weekday.split(',').map(each => Number(each) % 7);
  return { repeat: 'weekly', days, ...known };
}

/** The schedule that is chosen; null when the job is not to run by itself. */
export function scheduleOf(when: IWhen): ScheduleInput | null {
  const { timezone } = when;
  switch (when.kind) {
    case 'now':
    case 'never':
      return null;
    case 'cron':
      return { kind: 'cron', expression: expressionOf(when), timezone, ...when.bounds };
    case 'once':
      return { kind: 'once', at: instantOf(when.at, timezone) };
    case 'asset':
      return { kind: 'asset', jobs: when.jobs.map(job => job.trim()).filter(Boolean) };
  }
}

/** The choices that a schedule comes from. */
export function whenOf(schedule: Schemas['Schedule'] | null, timezone: string): IWhen {
  const start = fresh(timezone);
  switch (schedule?.kind) {
    case undefined:
      return { ...start, kind: 'never' };
    case 'cron':
      return {
        ...start,
        ...choicesOf(schedule.expression),
        kind: 'cron',
        timezone: schedule.timezone,
        bounds: { start: schedule.start, end: schedule.end }
      };
    case 'once':
      return { ...start, kind: 'once', at: wallTime(new Date(schedule.at), timezone) };
    case 'asset':
      return { ...start, kind: 'asset', jobs: schedule.jobs };
  }
}

/** Whether the browser knows a time zone of that name. */
export function isZone(name: string): boolean {
  try {
    return Boolean(new Intl.DateTimeFormat('en', { timeZone: name }));
  } catch {
    return false;
  }
}

/** The names of all time zones. */
export function zones(): string[] {
  const intl = Intl as unknown as { supportedValuesOf?: (key: string) => string[] };
  return [...new Set(['UTC', ...(intl.supportedValuesOf?.('timeZone') ?? [])])];
}

/** The browser's time zone. */
export function ownZone(): string {
  return Intl.DateTimeFormat().resolvedOptions().timeZone || 'UTC';
}

/** What the clock of a zone shows at an instant, `YYYY-MM-DDTHH:MM`. */
export function wallTime(at: Date, timezone: string): string {
  const parts = new Intl.DateTimeFormat('en', {
    timeZone: isZone(timezone) ? timezone : 'UTC',
    year: 'numeric',
    month: '2-digit',
    day: '2-digit',
    hour: '2-digit',
    minute: '2-digit',
    hourCycle: 'h23'
  }).formatToParts(at);
  const of = (type: string) => parts.find(part => part.type === type)?.value ?? '';
  return `${of('year')}-${of('month')}-${of('day')}T${of('hour')}:${of('minute')}`;
}

/**
 * The instant at which the clock of a zone shows a time: the first of two, and for a time that it
 * skips, as long after the turn as the time is.
 */
export function instantOf(wall: string, timezone: string): string {
  const asUtc = Date.parse(`${wall}Z`);
  const offset = (at: number) => Date.parse(`${wallTime(new Date(at), timezone)}Z`) - at;
  // a day before and after: the offsets on both sides of a turn, if there is one
  const [before, after] = [offset(asUtc - 86_400_000), offset(asUtc + 86_400_000)];
  const first = asUtc - before;
  const isTrue = offset(first) === before;
  return new Date(isTrue || offset(asUtc - after) !== after ? first : asUtc - after).toISOString();
}

function two(digits: string): string {
  return digits.padStart(2, '0');
}
