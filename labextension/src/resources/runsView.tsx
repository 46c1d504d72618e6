/**
 * What runs in the background.
 */
import type { TranslationBundle } from '@jupyterlab/translation';
import type { CommandRegistry } from '@lumino/commands';
import * as React from 'react';

import { Trouble, Waiting } from '../environments/parts';
import { Act } from '../jobs/list/parts';
import { durationOf, standingOf } from '../jobs/list/words';
import { CommandIDs as JobCommandIDs } from '../jobs/services';
import { nameOf } from '../runs/words';
import type { RunningModel } from './running';

export function RunsView({
  model,
  commands,
  trans
}: {
  model: RunningModel;
  commands: CommandRegistry;
  trans: TranslationBundle;
}): React.ReactElement {
  const { state, refusal } = model;
  switch (state.kind) {
    case 'loading':
      return <Waiting text={trans.__('Looking at what runs…')} />;
    case 'failed':
      return (
        <Trouble
          title={trans.__('The runs could not be listed.')}
          problem={state.problem}
          again={() => model.refresh()}
          trans={trans}
        />
      );
  }
  const { page, stale } = state;
  if (page === null) {
    return <p>{trans.__('No platform is running, so nothing runs in the background.')}</p>;
  }
  return (
    <>
      {refusal ? <Trouble title={refusal.title} problem={refusal.problem} trans={trans} /> : null}
      {stale ? <p className="jp-ElementAside">{trans.__('Reconnecting…')}</p> : null}
      {page.items.length === 0 ? <p>{trans.__('Nothing runs in the background.')}</p> : null}
      <ul className="jp-ElementKernels">
        {page.items.map(run => {
          const name = nameOf(run);
          const stopping = run.stop_requested_at !== null || model.isBusy(run.run_id);
          return (
            <li key={run.run_id}>
              <div className="jp-ElementKernels-name">
                <button
                  type="button"
                  title={run.notebook}
                  onClick={() =>
                    void commands.execute(JobCommandIDs.openRun, { run_id: run.run_id })
                  }
                >
                  {name}
                </button>
              </div>
              <Act
                label={stopping ? trans.__('Stopping…') : trans.__('Stop')}
                about={name}
                busy={stopping}
                onClick={() => void model.stop(run)}
              />
              <div className="jp-ElementAside">
                {[standingOf(run, trans), durationOf(run, Date.now())].filter(Boolean).join(' · ')}
              </div>
            </li>
          );
        })}
      </ul>
    </>
  );
}
