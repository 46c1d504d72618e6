/**
 * The part of the dialog that says with which values.
 */
import type { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import type { Parameter } from '../../api/types';
import { Button, Trouble, Waiting } from '../../environments/parts';
import type { IControl } from './fields';
import { Field, Group, Tick } from './fields';
import type { Faults } from './form';
import { hasSeveral } from './form';
import type { ScheduleModel } from './model';
import type { ITyped } from './values';
import { controlOf, isKnown } from './values';

interface IPart {
  model: ScheduleModel;
  faults: Faults;
  trans: TranslationBundle;
}

/** A control for each parameter of the notebook. */
export function ParametersView({ model, faults, trans }: IPart): React.ReactElement | null {
  const { inspection, parameters } = model;
  if (hasSeveral(model.stored?.job ?? null)) {
    return (
      <p className="jp-ElementAside">
        {trans.__('This job has several notebooks; what each is given stays as it is.')}
      </p>
    );
  }
  return (
    <Group label={trans.__('Parameters')}>
      {inspection.kind === 'loading' ? <Waiting text={trans.__('Reading the notebook…')} /> : null}
      {inspection.kind === 'failed' ? (
        <Trouble
          title={trans.__('The notebook could not be read')}
          problem={inspection.problem}
          again={() => void model.load()}
          trans={trans}
        />
      ) : null}
      {inspection.kind === 'ready' && parameters.length === 0 ? (
        <NoParameters hasCell={inspection.value.has_parameters_cell} trans={trans} />
      ) : null}
      <div className="jp-ElementParameters">
        {parameters.map(parameter => (
          <ParameterField
            key={parameter.name}
            parameter={parameter}
            model={model}
            faults={faults}
            trans={trans}
          />
        ))}
      </div>
    </Group>
  );
}

function NoParameters({
  hasCell,
  trans
}: {
  hasCell: boolean;
  trans: TranslationBundle;
}): React.ReactElement {
  return hasCell ? (
    <p className="jp-ElementAside">
      {trans.__('The parameters cell of this notebook assigns nothing.')}
    </p>
  ) : (
    <details className="jp-ElementFolded">
      <summary>{trans.__('No parameters cell: how to add one')}</summary>
      <p>
        {trans.__(
          'Assign the values that may differ from run to run in one cell, such as "days = 7". Select that cell, open the Property Inspector in the right sidebar, and under Common Tools add the tag "parameters".'
        )}
      </p>
    </details>
  );
}

function ParameterField({
  parameter,
  model,
  faults,
  trans
}: IPart & { parameter: Parameter }): React.ReactElement {
  const { name, help, optional, default_source: source } = parameter;
  const id = React.useId();
  const typed = model.typed(parameter);
  const isGiven = model.form.given.has(name);
  const control = controlOf(parameter, typed);
  const give = (change: Partial<ITyped>) => model.give(name, { ...typed, ...change });
  const isAny = control === 'any';
  const hint = [
    help,
    isAny ? trans.__('A text, or JSON such as 3, true or [1, 2].') : '',
    isGiven && source ? trans.__('In the notebook: %1', source) : ''
  ].filter(Boolean);
  return (
    <Field
      id={id}
      label={name}
      fault={faults.get(`parameters.${name}`)}
      hint={hint.length > 0 ? hint.join(' · ') : undefined}
      aside={
        <>
          {optional && !isAny && control !== 'choice' ? (
            <Tick label={trans.__('None')} checked={typed.none} onChange={none => give({ none })} />
          ) : null}
          {control === 'date' && model.form.when.kind !== 'now' ? (
            <Button
              label={trans.__('Day it is due')}
              title={trans.__('Fill in the day that each run is for')}
              onClick={() => give({ text: '{{ ds }}', none: false })}
            />
          ) : null}
          {isGiven ? (
            <Button
              label={trans.__('Reset')}
              title={trans.__('Use what the notebook has for %1', name)}
              onClick={() => {
                document.getElementById(id)?.focus(); // the button goes
                model.give(name);
              }}
            />
          ) : null}
        </>
      }
    >
      {tied => (
        <Typed
          tied={tied}
          parameter={parameter}
          typed={typed}
          give={give}
          reset={() => model.give(name)}
          trans={trans}
        />
      )}
    </Field>
  );
}

function Typed({
  tied,
  parameter,
  typed,
  give,
  reset,
  trans
}: {
  tied: IControl;
  parameter: Parameter;
  typed: ITyped;
  give: (change: Partial<ITyped>) => void;
  reset: () => void;
  trans: TranslationBundle;
}): React.ReactElement {
  const control = controlOf(parameter, typed);
  const common = {
    ...tied,
    placeholder: typed.none ? trans.__('None') : parameter.default_source,
    value: typed.none ? '' : typed.text,
    onChange: (event: React.ChangeEvent<HTMLInputElement | HTMLTextAreaElement>) =>
      give({ text: event.target.value, none: false })
  };
  switch (control) {
    case 'switch':
      return (
        <span className="jp-ElementToggle">
          <input
            {...tied}
            type="checkbox"
            role="switch"
            checked={typed.text === 'true'}
            onChange={event => give({ text: String(event.target.checked) })}
          />
          <span aria-hidden="true">
            {typed.text === 'true' ? trans.__('True') : trans.__('False')}
          </span>
        </span>
      );
    case 'choice':
      return (
        <select
          {...tied}
          value={typed.none ? 'none' : typed.text}
          onChange={event => {
            const chosen = event.target.value;
            if (chosen === '') {
              reset();
            } else {
              give({ text: chosen === 'none' ? '' : chosen, none: chosen === 'none' });
            }
          }}
        >
          {isKnown(parameter) ? null : (
            <option value="">{trans.__('As in the notebook: %1', parameter.default_source)}</option>
          )}
          <option value="true">{trans.__('True')}</option>
          <option value="false">{trans.__('False')}</option>
          {parameter.optional ? <option value="none">{trans.__('None')}</option> : null}
        </select>
      );
    case 'json':
      return (
        <textarea
          {...common}
          spellCheck={false}
          rows={Math.min(8, typed.text.split('\n').length)}
        />
      );
    case 'date':
      return <input {...common} type="date" />;
    case 'datetime':
      return <input {...common} type="datetime-local" step={1} />;
    case 'number':
      return <input {...common} type="text" inputMode="decimal" autoComplete="off" />;
    default:
      return <input {...common} type="text" spellCheck={false} autoComplete="off" />;
  }
}
