/**
 * Everything above the notebook of a run, whatever is known of the run.
 */
import type { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import type { Problem } from '../api/types';
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
      return <Missing problem={state.problem} onJobs={actions.openJobs} trans={trans} />;
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

/** There is no such run; the way to those that are there. */
export function Missing({
  problem,
  onJobs,
  trans
}: {
  problem: Problem;
  onJobs: () => void;
  trans: TranslationBundle;
}): React.ReactElement {
  return (
    <div role="alert" className="jp-ElementRun-missing">
      <strong>{trans.__('There is no such run')}</strong>
      <p>{problem.message}</p>
      {problem.hint ? <p>{problem.hint}</p> : null}
      <Button label={trans.__('Show all runs')} onClick={onJobs} main />
    </div>
  );
}
