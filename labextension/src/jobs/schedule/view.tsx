/**
 * What is in the dialog.
 */
import { UseSignal } from '@jupyterlab/apputils';
import type { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import { Trouble, Waiting } from '../../environments/parts';
import type { Quota } from '../../quota';
import { changesBetween } from '../list/changes';
import { ChangesView } from '../list/changesView';
import { Field, Group, Tick } from './fields';
import type { CatchUp, Faults } from './form';
import { hasSeveral } from './form';
import type { ScheduleModel } from './model';
import { ParametersView } from './parametersView';
import { PreflightView } from './preflightView';
import type { IExists } from './sending';
import { WhenView } from './whenView';
import { sizeHint, sizeLabel } from './words';

interface IView {
  model: ScheduleModel;
  trans: TranslationBundle;
}

type IPart = IView & { faults: Faults };

/** The whole form; it shows each change of the model at once, so that typing is never behind. */
export function ScheduleView({ model, trans }: IView): React.ReactElement {
  return (
    <UseSignal signal={model.stateChanged}>{() => <Form model={model} trans={trans} />}</UseSignal>
  );
}

function Form({ model, trans }: IView): React.ReactElement {
  const node = React.useRef<HTMLDivElement>(null);
  const { state, refusals } = model;
  const isThere = state.kind !== 'loading' && state.kind !== 'failed';
  React.useEffect(() => {
    if (refusals > 0) {
      turnTo(node.current?.querySelector('[aria-invalid="true"], [data-refused]'));
    }
  }, [refusals]);
  React.useLayoutEffect(() => {
    // the focus was on something that is gone, such as a button of what is no longer there
    if (document.activeElement === document.body) {
      node.current?.focus();
    }
  });
  React.useEffect(() => {
    if (isThere) {
      node.current?.querySelector<HTMLElement>('input:checked')?.focus();
    }
  }, [isThere]);
  if (state.kind === 'loading') {
    return <Waiting text={trans.__('Fetching the job…')} />;
  }
  if (state.kind === 'failed') {
    return <Trouble problem={state.problem} again={() => void model.load()} trans={trans} />;
  }
  const { faults } = model;
  const part = { model, faults, trans };
  return (
    <div
      className="jp-ElementSchedule-form"
      ref={node}
      tabIndex={-1}
      aria-busy={state.kind === 'submitting'}
    >
      {model.trouble ? (
        <div tabIndex={-1} data-refused="">
          <Trouble problem={model.trouble} trans={trans} />
        </div>
      ) : null}
      {state.kind === 'exists' ? <ExistsView exists={state} {...part} /> : null}
      <WhenView {...part} />
      {model.jobId === null && model.form.when.kind !== 'now' ? <NameField {...part} /> : null}
      <UpdateView {...part} />
      <PreflightView {...part} />
      <ParametersView {...part} />
      <TeamField {...part} />
      <OptionsView {...part} />
    </div>
  );
}

/** Give an element the focus, and unfold what it is in. */
function turnTo(element: Element | null | undefined): void {
  element?.closest('details')?.setAttribute('open', '');
  if (element instanceof HTMLElement) {
    element.focus();
  }
}

function ExistsView({ exists, model, trans }: IPart & { exists: IExists }): React.ReactElement {
  const { stored, replaced } = exists;
  const isOther =
    changesBetween(stored, replaced).length > 0 ||
    stored.job.snapshot_id !== replaced.job.snapshot_id;
  return (
    <div role="alert" className="jp-ElementTrouble" tabIndex={-1} data-refused="">
      <strong>{trans.__('There is a job %1 already.', stored.job.name)}</strong>
      <p>
        {trans.__(
          'Version %1, saved by %2 on %3.',
          String(stored.version),
          stored.saved_by,
          new Date(stored.saved_at).toLocaleString()
        )}{' '}
        {isOther
          ? trans.__('Replace it, or choose another name. This would change:')
          : trans.__('It is just like this one.')}
      </p>
      <ChangesView before={stored} after={replaced} client={model.client} trans={trans} />
    </div>
  );
}

function NameField({ model, faults, trans }: IPart): React.ReactElement {
  return (
    <Field label={trans.__('Name')} fault={faults.get('name')}>
      {control => (
        <input
          {...control}
          type="text"
          spellCheck={false}
          autoComplete="off"
          value={model.form.name}
          onChange={event => model.set({ name: event.target.value })}
        />
      )}
    </Field>
  );
}

/** Of a job that is there: whether it gets the notebook as it is now. */
function UpdateView({ model, faults, trans }: IPart): React.ReactElement | null {
  if (model.stored === null) {
    return null;
  }
  const { owner, team } = model.stored.job;
  const { other } = model;
  return (
    <>
      <p className="jp-ElementAside">
        {trans.__('It belongs to the team %1 and runs as %2.', team, owner)}
      </p>
      {other === null ? null : (
        <Group label={trans.__('Owner')} fault={faults.get('owner')}>
          <Tick
            label={trans.__('Take it over: from now on it runs as you')}
            checked={model.form.owner === other}
            invalid={faults.has('owner')}
            onChange={mine => model.set({ owner: mine ? other : owner })}
          />
        </Group>
      )}
      {model.path === null ? (
        <p className="jp-ElementAside">
          {trans.__('The job keeps the notebook as it was when it was saved.')}
        </p>
      ) : (
        <Group label={trans.__('Notebook')}>
          <Tick
            label={trans.__('Update the job to what %1 is now', model.path)}
            checked={model.form.update}
            onChange={update => model.set({ update })}
          />
        </Group>
      )}
    </>
  );
}

/** For whom it is; what is there stays with its team. */
function TeamField({ model, faults, trans }: IPart): React.ReactElement | null {
  const { teams } = model.places;
  return model.stored || teams.length === 0 ? null : (
    <Field
      label={trans.__('Team')}
      fault={faults.get('team')}
      hint={trans.__('Its people see what runs, and what comes of it')}
    >
      {control => (
        <select
          {...control}
          value={model.team}
          onChange={event => model.set({ team: event.target.value })}
        >
          {teams.map(team => (
            <option key={team}>{team}</option>
          ))}
        </select>
      )}
    </Field>
  );
}

function OptionsView({ model, faults, trans }: IPart): React.ReactElement | null {
  const { form } = model;
  if (hasSeveral(model.stored?.job ?? null)) {
    return <SizeField model={model} faults={faults} trans={trans} />;
  }
  const isJob = form.when.kind !== 'now';
  const input = (control: object, value: string, change: (value: string) => void) => (
    <input
      {...control}
      type="text"
      autoComplete="off"
      value={value}
      onChange={event => change(event.target.value)}
    />
  );
  return (
    <details className="jp-ElementMore">
      <summary>{trans.__('More options')}</summary>
      <SizeField model={model} faults={faults} trans={trans} />
      <div className="jp-ElementRow">
        <Field
          label={trans.__('Time limit in minutes')}
          fault={faults.get('time_limit_seconds')}
          hint={trans.__('Empty: the usual one')}
        >
          {control => input(control, form.minutes, minutes => model.set({ minutes }))}
        </Field>
        {isJob ? (
          <>
            <Field label={trans.__('Tries after a failure')} fault={faults.get('retries')}>
              {control => input(control, form.retries, retries => model.set({ retries }))}
            </Field>
            <Field label={trans.__('If it could not run when due')}>
              {control => (
                <select
                  {...control}
                  value={form.catchUp}
                  onChange={event => model.set({ catchUp: event.target.value as CatchUp })}
                >
                  <option value="latest">{trans.__('run once, for the last time')}</option>
                  <option value="all">{trans.__('run for each time')}</option>
                  <option value="none">{trans.__('leave it out')}</option>
                </select>
              )}
            </Field>
            <Field
              label={trans.__('Pool')}
              fault={faults.get('pool')}
              hint={trans.__('Of Airflow: limits how many such jobs run at once')}
            >
              {control => input(control, form.pool, pool => model.set({ pool }))}
            </Field>
          </>
        ) : null}
      </div>
    </details>
  );
}

function SizeField({ model, faults, trans }: IPart): React.ReactElement | null {
  const { sizes } = model.places;
  if (sizes.kind === 'failed') {
    return (
      <p className="jp-ElementAside">
        {trans.__('The sizes are not known, so it gets the usual one. %1', sizes.problem.message)}
      </p>
    );
  }
  if (sizes.kind !== 'ready') {
    return null;
  }
  const { value: offered } = sizes;
  const shown = model.size ?? model.places.named(model.form.size || offered.default);
  return (
    <Field
      label={trans.__('Size')}
      fault={faults.get('size')}
      hint={shown ? [sizeHint(shown, offered, trans), ...budgets(model.quota)].join(' ') : null}
    >
      {control => (
        <select
          {...control}
          value={shown?.name ?? model.form.size}
          onChange={event => model.set({ size: event.target.value })}
        >
          {shown ? null : <option>{model.form.size}</option>}
          {offered.sizes.map(size => (
            <option key={size.name} value={size.name}>
              {sizeLabel(size, trans)}
            </option>
          ))}
        </select>
      )}
    </Field>
  );
}

/** What is left of what may be used up, in words. */
function budgets(quota: Quota | null): string[] {
  const found = quota?.limits.filter(({ kind }) => kind === 'budget') ?? [];
  return found.map(({ sentence }) => sentence);
}
