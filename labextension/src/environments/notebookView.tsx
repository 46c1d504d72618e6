/**
 * The environment of one notebook: what it is and why, how it is made, and what one can do.
 */
import { Dialog, showDialog } from '@jupyterlab/apputils';
import type { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import type { NotebookEnvironment, SharedEnvironment } from '../api/types';
import type { IElementClient } from '../tokens';
import { BuildView, FailureView } from './buildView';
import type { OpenNotebook } from './notebook';
import { Packages } from './packages';
import { Button, Copy, Trouble, Waiting } from './parts';
import { nameOf, placeOf, wordFor } from './words';

interface IProps {
  client: IElementClient;
  notebook: OpenNotebook | null;
  shared: SharedEnvironment[];
  trans: TranslationBundle;
}

export function NotebookView({ client, notebook, shared, trans }: IProps): React.ReactElement {
  return (
    <section className="jp-ElementSection" aria-labelledby="jp-element-environment">
      <h2 id="jp-element-environment">{trans.__('Environment of this notebook')}</h2>
      {notebook ? (
        <Content client={client} notebook={notebook} shared={shared} trans={trans} />
      ) : (
        <p>{trans.__('Open a notebook to see what packages it has, and why.')}</p>
      )}
    </section>
  );
}

type IKnownProps = IProps & { notebook: OpenNotebook };

function Content({ client, notebook, shared, trans }: IKnownProps): React.ReactElement {
  const { model } = notebook;
  const { state } = model;
  const again = () => void model.refresh();
  switch (state.kind) {
    case 'loading':
      return <Waiting text={trans.__('Looking for its definition…')} />;
    case 'off':
      return (
        <p>
          {trans.__(
            'This server sets up no environments: notebooks have the packages of their kernels.'
          )}
        </p>
      );
    case 'foreign':
      return (
        <p>
          {trans.__(
            'The kernel “%1” brings its own packages. Choose the ordinary Python 3 kernel for an environment that follows from a file beside the notebook.',
            state.kernel
          )}
        </p>
      );
    case 'unknown':
      return (
        <Trouble
          title={trans.__('Its environment is not known.')}
          problem={state.problem}
          again={again}
          trans={trans}
        />
      );
    case 'known':
      return (
        <>
          {state.stale ? (
            <Trouble
              title={trans.__('What is shown may be old.')}
              problem={state.stale}
              again={again}
              trans={trans}
            />
          ) : null}
          <Standing notebook={notebook} trans={trans} />
          {model.build ? <BuildView model={model} trans={trans} /> : null}
          {model.failure ? (
            <FailureView model={model} failure={model.failure} trans={trans} />
          ) : null}
          <Facts environment={state.environment} trans={trans} />
          {state.environment.environment_id && state.environment.state === 'ready' ? (
            <Packages
              client={client}
              environmentId={state.environment.environment_id}
              trans={trans}
            />
          ) : null}
          <Remarks environment={state.environment} trans={trans} />
          <Actions notebook={notebook} shared={shared} trans={trans} />
        </>
      );
  }
}

/** The state, and what to do about it first. */
function Standing({
  notebook,
  trans
}: {
  notebook: OpenNotebook;
  trans: TranslationBundle;
}): React.ReactElement {
  const { model } = notebook;
  const { standing, build, busy, environment } = model;
  return (
    <>
      <p className="jp-ElementState" data-standing={standing}>
        <span className="jp-ElementMark" aria-hidden="true" />
        <span>{standing && wordFor(standing, build?.running ? build.last : null, trans)}</span>
      </p>
      <div className="jp-ElementActions">
        {standing === 'changed' ? (
          <Button
            main
            label={trans.__('Restart kernel to update')}
            onClick={() => void notebook.restart()}
          />
        ) : null}
        {environment?.state === 'missing' && standing !== 'building' && !model.failure ? (
          <Button
            main={standing === 'missing'}
            label={busy === 'build' ? trans.__('Building…') : trans.__('Build')}
            busy={busy !== null}
            onClick={() => void model.start()}
          />
        ) : null}
      </div>
    </>
  );
}

function Facts({
  environment,
  trans
}: {
  environment: NotebookEnvironment;
  trans: TranslationBundle;
}): React.ReactElement {
  const { definition, python, packages, environment_id } = environment;
  return (
    <dl className="jp-ElementFacts">
      {definition ? (
        <>
          <dt>{trans.__('Definition')}</dt>
          <dd>
            <strong>{placeOf(definition, trans)}</strong>
            <div>{definition.why}</div>
          </dd>
        </>
      ) : null}
      {python ? (
        <>
          <dt>{trans.__('Python')}</dt>
          <dd>
            {python}
            {definition?.python ? (
              <div>{trans.__('%1 asks for %2', definition.python_from, definition.python)}</div>
            ) : null}
          </dd>
        </>
      ) : null}
      {packages !== null ? (
        <>
          <dt>{trans.__('Packages')}</dt>
          <dd>{packages}</dd>
        </>
      ) : null}
      {environment_id ? (
        <>
          <dt>{trans.__('Id')}</dt>
          <dd>
            <code>{environment_id}</code>{' '}
            <Copy
              text={environment_id}
              label={trans.__('Copy')}
              title={trans.__('Copy the environment’s id')}
              trans={trans}
            />
          </dd>
        </>
      ) : null}
    </dl>
  );
}

/** What was found besides. */
function Remarks({
  environment: { ignored, notices },
  trans
}: {
  environment: NotebookEnvironment;
  trans: TranslationBundle;
}): React.ReactElement {
  return (
    <>
      {ignored.length > 0 ? (
        <>
          <h3>{trans.__('Found, and not used')}</h3>
          <ul className="jp-ElementNotes">
            {ignored.map(({ path, reason }) => (
              <li key={path}>
                <strong>{path}</strong>: {reason}
              </li>
            ))}
          </ul>
        </>
      ) : null}
      {notices.length > 0 ? (
        <>
          <h3>{trans.__('Good to know')}</h3>
          <ul className="jp-ElementNotes">
            {notices.map(notice => (
              <li key={notice}>{notice}</li>
            ))}
          </ul>
        </>
      ) : null}
    </>
  );
}

function Actions({
  notebook,
  shared,
  trans
}: {
  notebook: OpenNotebook;
  shared: SharedEnvironment[];
  trans: TranslationBundle;
}): React.ReactElement {
  const { model } = notebook;
  const { standing, busy, refusal, environment } = model;
  const idle = standing !== 'building';
  const update = async () => {
    const definition = environment?.definition ?? null;
    const { button } = await showDialog({
      title: trans.__('Update the lock of %1?', nameOf(definition, trans)),
      body: trans.__(
        'The newest versions that the definition allows are looked up, and an environment is built from them. Your kernel stays as it is until you restart it.'
      ),
      buttons: [Dialog.cancelButton(), Dialog.okButton({ label: trans.__('Update lock') })]
    });
    if (button.accept) {
      await model.start({ upgrade: true });
    }
  };
  return (
    <>
      {refusal ? <Trouble problem={refusal.problem} trans={trans} /> : null}
      {idle && environment?.definition ? <AddPackage notebook={notebook} trans={trans} /> : null}
      {idle ? <UseShared notebook={notebook} shared={shared} trans={trans} /> : null}
      <div className="jp-ElementActions">
        {environment?.definition_file && environment.definition?.kind !== 'inline' ? (
          <Button
            label={trans.__('Edit definition')}
            title={trans.__('Open %1', environment.definition_file)}
            onClick={() => notebook.editDefinition()}
          />
        ) : null}
        {idle && environment?.definition ? (
          <Button
            label={busy === 'update' ? trans.__('Updating…') : trans.__('Update lock…')}
            title={trans.__('Look up newer versions of the packages')}
            busy={busy !== null}
            onClick={() => void update()}
          />
        ) : null}
      </div>
    </>
  );
}

function AddPackage({
  notebook,
  trans
}: {
  notebook: OpenNotebook;
  trans: TranslationBundle;
}): React.ReactElement {
  const [text, setText] = React.useState('');
  const { busy } = notebook.model;
  const add = async () => {
    const requirements = text
      .split(/[\n,](?![^[(]*[\])])/)
      .map(each => each.trim())
      .filter(Boolean);
    if (requirements.length > 0 && (await notebook.add(requirements))) {
      setText('');
    }
  };
  return (
    <form
      className="jp-ElementForm"
      onSubmit={event => {
        event.preventDefault();
        void add();
      }}
    >
      <label htmlFor="jp-element-add">{trans.__('Add a package to the definition')}</label>
      <div>
        <input
          id="jp-element-add"
          className="jp-mod-styled"
          type="text"
          required
          spellCheck={false}
          autoComplete="off"
          placeholder={trans.__('such as %1', 'humanize>=4')}
          value={text}
          onChange={event => setText(event.target.value)}
        />
        <button
          type="submit"
          className="jp-ElementButton jp-mod-styled"
          aria-busy={busy === 'add'}
          aria-disabled={busy !== null}
        >
          {busy === 'add' ? trans.__('Adding…') : trans.__('Add')}
        </button>
      </div>
    </form>
  );
}

function UseShared({
  notebook,
  shared,
  trans
}: {
  notebook: OpenNotebook;
  shared: SharedEnvironment[];
  trans: TranslationBundle;
}): React.ReactElement | null {
  const { pointsAt, model } = notebook;
  const [chosen, setChosen] = React.useState(pointsAt ?? '');
  if (shared.length === 0 && pointsAt === null) {
    return null;
  }
  const unlisted = pointsAt !== null && !shared.some(({ name }) => name === pointsAt);
  const use = () => {
    if (chosen !== (pointsAt ?? '')) {
      void notebook.use(chosen || null);
    }
  };
  return (
    <form
      className="jp-ElementForm"
      onSubmit={event => {
        event.preventDefault();
        use();
      }}
    >
      <label htmlFor="jp-element-shared">{trans.__('Use a ready-made environment')}</label>
      <div>
        <select
          id="jp-element-shared"
          className="jp-mod-styled"
          value={chosen}
          onChange={event => setChosen(event.target.value)}
        >
          <option value="">{trans.__('None: the files beside it')}</option>
          {unlisted ? <option value={pointsAt}>{pointsAt}</option> : null}
          {shared.map(({ name, title, state }) => (
            <option key={name} value={name}>
              {title || name} ({wordFor(state, null, trans)})
            </option>
          ))}
        </select>
        <button
          type="submit"
          className="jp-ElementButton jp-mod-styled"
          aria-busy={model.busy === 'use'}
          aria-disabled={model.busy !== null}
        >
          {model.busy === 'use' ? trans.__('Saving…') : trans.__('Use')}
        </button>
      </div>
    </form>
  );
}
