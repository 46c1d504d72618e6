/**
 * A new environment for the notebook in front: its name, what it starts from, and its packages.
 */
import type { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import { problemOf } from '../api/client';
import type { EnvironmentSummary, Problem } from '../api/types';
import { Field } from '../jobs/schedule/fields';
import type { IElementClient } from '../tokens';
import type { OpenNotebook } from './notebook';
import { Button, Trouble } from './parts';
import { nameOf } from './words';

/** What it starts from: nothing, what the notebook has, or the environment of this id. */
export type Start = '' | 'notebook' | string;

/** How long nothing is typed before it is checked, in milliseconds. */
const SETTLED = 500;

interface IProps {
  client: IElementClient;
  notebook: OpenNotebook;
  items: readonly EnvironmentSummary[];
  start: Start;
  done: () => void;
  trans: TranslationBundle;
}

export function NewView({
  client,
  notebook,
  items,
  start,
  done,
  trans
}: IProps): React.ReactElement {
  const { model } = notebook;
  const definition = model.environment?.definition ?? null;
  const [from, setFrom] = React.useState(start);
  const [form, setForm] = React.useState({ name: '', python: '', packages: '' });
  const [problem, setProblem] = React.useState<Problem | null>(null);
  const [refusals, setRefusals] = React.useState(0);
  const [made, setMade] = React.useState('');
  const whole = React.useRef<HTMLFormElement>(null);
  const change = (changed: Partial<typeof form>) => setForm(form => ({ ...form, ...changed }));

  const send = (dry_run: boolean) =>
    client.call('post', '/environments', {
      body: {
        path: notebook.path,
        name: form.name.trim(),
        python: form.python,
        requirements: form.packages.split('\n'),
        replace: made === form.name.trim(),
        dry_run
      }
    });

  React.useEffect(() => {
    let current = true;
    const begin = async () => {
      if (from === 'notebook') {
        const packages = definition?.requirements.map(({ spec }) => spec).join('\n') ?? '';
        change({ packages, python: definition?.python ?? '' });
      } else if (from !== '') {
        const path = { environment_id: from };
        const { packages, python } = await client.call('get', '/environments/{environment_id}', {
          path
        });
        if (current) {
          change({
            packages: packages.map(({ name, version }) => `${name}==${version}`).join('\n'),
            python: python.split('.', 2).join('.')
          });
        }
      }
    };
    begin().catch(reason => setProblem(problemOf(reason)));
    return () => {
      current = false;
    };
  }, [from]);

  React.useEffect(() => {
    if (form.name.trim() === '') {
      return;
    }
    let current = true;
    const told = (problem: Problem | null) => current && setProblem(problem);
    const timer = setTimeout(() => {
      send(true).then(
        () => told(null),
        reason => told(problemOf(reason))
      );
    }, SETTLED);
    return () => {
      current = false;
      clearTimeout(timer);
    };
  }, [form, made]);

  React.useEffect(() => whole.current?.querySelector('input')?.focus(), []);
  React.useEffect(() => {
    whole.current?.querySelector<HTMLElement>('[aria-invalid="true"]')?.focus();
  }, [refusals]);

  const isReady =
    made !== '' &&
    model.environment?.state === 'ready' &&
    definition?.path.endsWith(`envs/${made}/requirements.txt`);
  React.useEffect(() => {
    if (isReady) {
      done();
    }
  }, [isReady]);

  const create = async () => {
    try {
      const { pointer } = await send(false);
      setProblem(null);
      setMade(form.name.trim());
      await notebook.pointAt({ path: pointer });
    } catch (reason) {
      setProblem(problemOf(reason));
      setRefusals(refusals + 1);
    }
  };
  const isBusy = model.busy !== null || model.standing === 'building';
  const [field, line] = (problem?.field ?? '').split('.');
  const fault = (name: string) =>
    problem && field === name
      ? [line && trans.__('Line %1:', Number(line) + 1), problem.message, problem.hint]
          .filter(Boolean)
          .join(' ')
      : undefined;
  const isElsewhere = problem !== null && !['name', 'python', 'requirements'].includes(field);

  return (
    <form
      ref={whole}
      className="jp-ElementNew"
      aria-label={trans.__('New environment')}
      onKeyDown={event => {
        if (event.key === 'Escape') {
          done();
        }
      }}
      onSubmit={event => {
        event.preventDefault();
        if (!isBusy) {
          void create();
        }
      }}
    >
      <Field label={trans.__('Name')} fault={fault('name')}>
        {control => (
          <input
            {...control}
            type="text"
            required
            spellCheck={false}
            autoComplete="off"
            value={form.name}
            onChange={event => change({ name: event.target.value })}
          />
        )}
      </Field>
      <Field label={trans.__('Start from')}>
        {control => (
          <select {...control} value={from} onChange={event => setFrom(event.target.value)}>
            <option value="">{trans.__('Nothing')}</option>
            {definition?.requirements.length ? (
              <option value="notebook">{nameOf(definition, trans)}</option>
            ) : null}
            {items
              .filter(({ environment_id }) => isCopied(environment_id))
              .map(({ environment_id, names, definition }) => (
                <option key={environment_id} value={environment_id}>
                  {trans.__('Copy of %1', names[0] ?? definition)}
                </option>
              ))}
          </select>
        )}
      </Field>
      <Field
        label={trans.__('Python')}
        fault={fault('python')}
        hint={trans.__('Such as %1; empty: any', '3.12')}
      >
        {control => (
          <input
            {...control}
            type="text"
            spellCheck={false}
            autoComplete="off"
            value={form.python}
            onChange={event => change({ python: event.target.value })}
          />
        )}
      </Field>
      <Field
        label={trans.__('Packages')}
        fault={fault('requirements')}
        hint={trans.__('One per line, such as %1', 'pandas>=2')}
      >
        {control => (
          <textarea
            {...control}
            rows={5}
            spellCheck={false}
            value={form.packages}
            onChange={event => change({ packages: event.target.value })}
          />
        )}
      </Field>
      {isElsewhere ? <Trouble problem={problem} trans={trans} /> : null}
      <div className="jp-ElementActions">
        <button
          type="submit"
          className="jp-ElementButton jp-mod-styled jp-mod-accept"
          aria-busy={isBusy}
          aria-disabled={isBusy}
        >
          {isBusy ? trans.__('Building…') : trans.__('Create')}
        </button>
        <Button label={trans.__('Close')} onClick={done} />
      </div>
    </form>
  );
}

/** Whether what an environment has can be written as a list of packages: conda's cannot. */
export function isCopied(id: string): boolean {
  return id.startsWith('py-');
}
