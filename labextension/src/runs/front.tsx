/**
 * Everything above the notebook of a run, whatever is known of the run.
 */
import type { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import { Button, Trouble, Waiting } from '../environments/parts';
import type { IActions } from './head';
import { Head } from './head';
import type { RunModel } from './model';
import { Sections } from './sections';

export function Front({
  model,
  actions,
  address,
  trans
}: {
  model: RunModel;
  actions: IActions;
  /** Where the files of the run are. */
  address: string;
  trans: TranslationBundle;
}): React.ReactElement {
  const { state } = model;
  switch (state.kind) {
    case 'loading':
      return <Waiting text={trans.__('Looking for the run…')} />;
    case 'missing':
      return (
        <div role="alert" className="jp-ElementRun-missing">
          <strong>{trans.__('There is no such run')}</strong>
          <p>{state.problem.message}</p>
          {state.problem.hint ? <p>{state.problem.hint}</p> : null}
          <Button label={trans.__('Show all runs')} onClick={actions.openJobs} main />
        </div>
      );
    case 'unknown':
      return (
        <Trouble
          title={trans.__('The run could not be shown')}
          problem={state.problem}
          again={() => void model.refresh()}
          trans={trans}
        />
      );
    case 'known':
      return (
        <>
          <Head model={model} actions={actions} trans={trans} />
          <Sections
            model={model}
            run={state.run}
            actions={actions}
            address={address}
            trans={trans}
          />
        </>
      );
  }
}
