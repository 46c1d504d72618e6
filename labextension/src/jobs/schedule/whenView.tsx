/**
 * The part of the dialog that says when.
 */
import type { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import { Field, Group, Tick } from './fields';
import type { Faults } from './form';
import type { ScheduleModel } from './model';
import type { Fetched, Preview } from './preview';
import type { IWhen, Kind, Repeat } from './when';
import { expressionOf, zones } from './when';
import { bentLabel, dayName, fireIn, repeatLabel } from './words';

interface IPart {
  model: ScheduleModel;
  faults: Faults;
  trans: TranslationBundle;
}

const REPEATS: Repeat[] = ['hourly', 'daily', 'weekdays', 'weekly', 'monthly', 'custom'];

/** From Monday. */
const DAYS = [1, 2, 3, 4, 5, 6, 0];

const MONTH = Array.from({ length: 31 }, (_, number) => String(number + 1));

/** The choice between now, at set times, once, and after other jobs. */
export function WhenView({ model, faults, trans }: IPart): React.ReactElement {
  const { when } = model.form;
  const group = React.useId();
  const kinds: [Kind, string][] = [
    model.jobId === null
      ? ['now', trans.__('Now')]
      : ['never', trans.__('Only when somebody starts it')],
    ['cron', trans.__('On a schedule')],
    ['once', trans.__('Once')],
    ['asset', trans.__('When other jobs have succeeded')]
  ];
  return (
    <>
      <Group label={trans.__('When')}>
        <div className="jp-ElementTicks">
          {kinds.map(([kind, label]) => (
            <Tick
              key={kind}
              type="radio"
              name={group}
              label={label}
              checked={when.kind === kind}
              onChange={() => model.setWhen({ kind })}
            />
          ))}
        </div>
      </Group>
      {when.kind === 'cron' ? <RepeatView model={model} faults={faults} trans={trans} /> : null}
      {when.kind === 'once' ? (
        <div className="jp-ElementRow">
          <Field label={trans.__('Date and time')} fault={faults.get('schedule.at')}>
            {control => (
              <input
                {...control}
                type="datetime-local"
                value={when.at}
                onChange={event => model.setWhen({ at: event.target.value })}
              />
            )}
          </Field>
          <ZoneField model={model} faults={faults} trans={trans} />
        </div>
      ) : null}
      {when.kind === 'asset' ? <JobsField model={model} faults={faults} trans={trans} /> : null}
      <PreviewView when={when} preview={model.preview} faults={faults} trans={trans} />
    </>
  );
}

function RepeatView({ model, faults, trans }: IPart): React.ReactElement {
  const { when } = model.form;
  const { repeat } = when;
  return (
    <>
      <div className="jp-ElementRow">
        <Field label={trans.__('Repeat')}>
          {control => (
            <select
              {...control}
              value={repeat}
              onChange={event => {
                const chosen = event.target.value as Repeat;
                // the expression starts as what was chosen so far, and then stays as it is typed
                model.setWhen(
                  chosen === 'custom' && !when.expression
                    ? { repeat: chosen, expression: expressionOf(when) }
                    : { repeat: chosen }
                );
              }}
            >
              {REPEATS.map(each => (
                <option key={each} value={each}>
                  {repeatLabel(each, trans)}
                </option>
              ))}
            </select>
          )}
        </Field>
        {repeat === 'monthly' ? <DayField model={model} faults={faults} trans={trans} /> : null}
        {repeat === 'custom' ? (
          <Field
            label={trans.__('Cron expression')}
            fault={faults.get('schedule.expression')}
            hint={trans.__('Minute, hour, day of the month, month, day of the week')}
          >
            {control => (
              <input
                {...control}
                type="text"
                spellCheck={false}
                autoComplete="off"
                value={when.expression}
                onChange={event => model.setWhen({ expression: event.target.value })}
              />
            )}
          </Field>
        ) : repeat === 'hourly' ? (
          <MinuteField model={model} faults={faults} trans={trans} />
        ) : (
          <Field label={trans.__('Time')} fault={faults.get('schedule.time')}>
            {control => (
              <input
                {...control}
                type="time"
                value={when.time}
                onChange={event => model.setWhen({ time: event.target.value })}
              />
            )}
          </Field>
        )}
        <ZoneField model={model} faults={faults} trans={trans} />
      </div>
      {repeat === 'weekly' ? (
        <Group label={trans.__('Days')} fault={faults.get('schedule.days')}>
          <div className="jp-ElementTicks">
            {DAYS.map(day => (
              <Tick
                key={day}
                label={dayName(day)}
                checked={when.days.includes(day)}
                invalid={faults.has('schedule.days')}
                onChange={checked =>
                  model.setWhen({
                    days: checked ? [...when.days, day] : when.days.filter(each => each !== day)
                  })
                }
              />
            ))}
          </div>
        </Group>
      ) : null}
    </>
  );
}

function DayField({ model, trans }: IPart): React.ReactElement {
  return (
    <Field label={trans.__('Day')}>
      {control => (
        <select
          {...control}
          value={model.form.when.day}
          onChange={event => model.setWhen({ day: event.target.value })}
        >
          {MONTH.map(day => (
            <option key={day} value={day}>
              {day}
            </option>
          ))}
          <option value="L">{trans.__('last')}</option>
        </select>
      )}
    </Field>
  );
}

function MinuteField({ model, faults, trans }: IPart): React.ReactElement {
  const [hour, minute] = model.form.when.time.split(':');
  return (
    <Field label={trans.__('Minute')} fault={faults.get('schedule.time')}>
      {control => (
        <select
          {...control}
          value={minute ?? '00'}
          onChange={event => model.setWhen({ time: `${hour || '00'}:${event.target.value}` })}
        >
          {Array.from({ length: 60 }, (_, number) => String(number).padStart(2, '0')).map(each => (
            <option key={each} value={each}>
              {each}
            </option>
          ))}
        </select>
      )}
    </Field>
  );
}

function ZoneField({ model, faults, trans }: IPart): React.ReactElement {
  const list = React.useId();
  const names = React.useMemo(zones, []);
  return (
    <Field label={trans.__('Time zone')} fault={faults.get('schedule.timezone')}>
      {control => (
        <>
          <input
            {...control}
            type="text"
            list={list}
            spellCheck={false}
            autoComplete="off"
            value={model.form.when.timezone}
            onChange={event => model.setWhen({ timezone: event.target.value })}
          />
          <datalist id={list}>
            {names.map(name => (
              <option key={name} value={name} />
            ))}
          </datalist>
        </>
      )}
    </Field>
  );
}

/** A line for each job to wait for, and an empty one. */
function JobsField({ model, faults, trans }: IPart): React.ReactElement {
  const list = React.useId();
  const { jobs } = model.form.when;
  const lines = [...jobs, ''];
  return (
    <div className="jp-ElementRow">
      {lines.map((job, number) => (
        <Field
          key={number}
          label={
            number === 0 ? trans.__('Job to wait for') : trans.__('And job %1', String(number + 1))
          }
          fault={faults.get(`schedule.jobs.${number}`)}
        >
          {control => (
            <input
              {...control}
              type="text"
              list={list}
              spellCheck={false}
              autoComplete="off"
              placeholder={trans.__('team/name')}
              value={job}
              onChange={event => {
                const changed = lines.map((each, at) =>
                  at === number ? event.target.value : each
                );
                while (changed.length > 0 && changed[changed.length - 1] === '') {
                  changed.pop();
                }
                model.setWhen({ jobs: changed });
              }}
            />
          )}
        </Field>
      ))}
      <datalist id={list}>
        {model.jobs.map(name => (
          <option key={name} value={name} />
        ))}
      </datalist>
    </div>
  );
}

function PreviewView({
  when,
  preview,
  faults,
  trans
}: {
  when: IWhen;
  preview: Fetched<Preview>;
  faults: Faults;
  trans: TranslationBundle;
}): React.ReactElement | null {
  if (when.kind === 'now' || when.kind === 'never' || preview.kind === 'none') {
    return null;
  }
  const timezone = when.kind === 'asset' ? undefined : when.timezone;
  const isAtField = [...faults.keys()].some(field => field.startsWith('schedule.'));
  return (
    <div className="jp-ElementPreview" role="status">
      {preview.kind === 'ready' ? (
        <>
          <p>{preview.value.sentence}</p>
          {preview.value.fires.length > 0 ? (
            <ol aria-label={trans.__('Next times')}>
              {preview.value.fires.map(({ at, wall_time: wall, dst }) => (
                <li key={at}>
                  <time dateTime={at} title={wall}>
                    {fireIn(at, timezone)}
                  </time>
                  {dst ? <em> {bentLabel(dst, trans)}</em> : null}
                </li>
              ))}
            </ol>
          ) : null}
        </>
      ) : null}
      {preview.kind === 'failed' && !isAtField ? (
        <p>{[preview.problem.message, preview.problem.hint].filter(Boolean).join(' ')}</p>
      ) : null}
    </div>
  );
}
