/**
 * The runs as a person sees them.
 */
import type { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import { isAtLeast } from '../../account';
import type { Run } from '../../api/types';
import { Ago, Button } from '../../environments/parts';
import { hasEnded } from '../../runs/events';
import { comparable } from '../../runs/past';
import { nameOf, stateWord } from '../../runs/words';
import type { IServices } from '../services';
import { CommandIDs } from '../services';
import { Act, Cell, Filter, Listed, OfWhom, StateIcon, Table, Whose } from './parts';
import type { RunsModel } from './runs';
import { STATES, durationOf, reasonOf, standingOf, triggerWord } from './words';

interface IProps {
  model: RunsModel;
  services: IServices;
}

export function RunsView({ model, services }: IProps): React.ReactElement {
  const { trans } = services;
  return (
    <>
      <Wanted model={model} trans={trans} />
      <Listed
        model={model}
        waiting={trans.__('Looking at the runs…')}
        failing={trans.__('The runs could not be listed.')}
        pages={[trans.__('Newer runs'), trans.__('Older runs')]}
        trans={trans}
      >
        {page =>
          page.items.length === 0 ? (
            <Nothing model={model} services={services} />
          ) : (
            <>
              {model.sorts ? (
                <p role="status" className="jp-ElementAside">
                  {trans.__(
                    '%1 of the %2 runs on this page match.',
                    model.rows.length,
                    page.items.length
                  )}
                </p>
              ) : null}
              {model.rows.length > 0 ? <Rows model={model} services={services} /> : null}
              {model.chosen.length > 0 ? <Chosen model={model} services={services} /> : null}
            </>
          )
        }
      </Listed>
    </>
  );
}

/** Which runs are wanted. */
function Wanted({
  model,
  trans
}: {
  model: RunsModel;
  trans: TranslationBundle;
}): React.ReactElement {
  const { text, state, job } = model.wanted;
  return (
    <div className="jp-ElementJobs-wanted">
      <Filter
        label={trans.__('Filter runs')}
        value={text}
        onChange={text => model.want({ text })}
      />
      <div className="jp-ElementChips" role="group" aria-label={trans.__('State')}>
        {STATES.map(each => (
          <button
            key={each}
            type="button"
            className="jp-ElementChip"
            aria-pressed={each === state}
            onClick={() => model.want({ state: each === state ? null : each })}
          >
            <StateIcon state={each} />
            {stateWord(each, trans)}
          </button>
        ))}
        {job !== null ? (
          <button
            type="button"
            className="jp-ElementChip"
            aria-pressed={true}
            title={trans.__('Show the runs of all jobs')}
            onClick={() => model.want({ job: null })}
          >
            {trans.__('Job: %1', job)}
          </button>
        ) : null}
      </div>
      <Whose model={model} trans={trans} />
    </div>
  );
}

function Nothing({ model, services }: IProps): React.ReactElement {
  const { commands, trans } = services;
  const { state, job } = model.wanted;
  if (state !== null || job !== null || model.whose) {
    return (
      <div className="jp-ElementNothing">
        <p>{trans.__('There are no such runs.')}</p>
        <Button
          label={trans.__('Show all runs')}
          onClick={() => {
            model.whose = '';
            model.want({ state: null, job: null });
          }}
        />
      </div>
    );
  }
  return (
    <div className="jp-ElementNothing">
      <p>
        {trans.__(
          'Nothing has run in the background yet. A notebook that runs there needs neither this window nor your computer.'
        )}
      </p>
      {commands.isEnabled(CommandIDs.runInBackground) ? (
        <Button
          main
          label={trans.__('Run the open notebook in the background')}
          onClick={() => void commands.execute(CommandIDs.runInBackground)}
        />
      ) : (
        <p>{trans.__('Open a notebook to run it in the background.')}</p>
      )}
    </div>
  );
}

function Rows({ model, services }: IProps): React.ReactElement {
  const { trans } = services;
  return (
    <Table
      caption={trans.__('Runs')}
      columns={[
        trans.__('State'),
        trans.__('Name'),
        trans.__('Notebook'),
        trans.__('Started'),
        trans.__('Duration'),
        trans.__('Trigger'),
        trans.__('Actions')
      ]}
    >
      {model.rows.map(run => (
        <Row key={run.run_id} run={run} model={model} services={services} />
      ))}
    </Table>
  );
}

/** What is chosen, and what to do with it. */
function Chosen({ model, services }: IProps): React.ReactElement {
  const { commands, trans } = services;
  const [one, other, ...more] = model.chosen;
  const isPair = Boolean(other) && more.length === 0;
  return (
    <div className="jp-ElementJobs-chosen">
      <span role="status">
        {isPair
          ? trans.__('2 runs are chosen.')
          : trans._n(
              '%1 run is chosen; two can be compared.',
              '%1 runs are chosen; two can be compared.',
              model.chosen.length
            )}
      </span>
      {isPair ? (
        <Button
          main
          label={trans.__('Compare')}
          onClick={() => void commands.execute(CommandIDs.compareRuns, comparable(one, other))}
        />
      ) : null}
      <Button label={trans.__('Choose none')} onClick={() => model.choose(null)} />
    </div>
  );
}

function Row({ run, model, services }: IProps & { run: Run }): React.ReactElement {
  const { commands, trans } = services;
  const name = nameOf(run);
  const reason = reasonOf(run);
  const duration = durationOf(run, Date.now());
  return (
    <tr role="row" data-state={run.state}>
      <Cell column={trans.__('State')} className="jp-ElementTable-state">
        <input
          type="checkbox"
          aria-label={trans.__('Choose %1 to compare it', name)}
          title={trans.__('Choose two runs to compare them')}
          checked={model.chosen.some(({ run_id }) => run_id === run.run_id)}
          onChange={() => model.choose(run)}
        />
        <StateIcon state={run.state} />
        {standingOf(run, trans)}
      </Cell>
      <Cell column={trans.__('Name')} className="jp-ElementTable-name">
        <button
          type="button"
          className="jp-ElementLink"
          title={run.run_id}
          onClick={() => void commands.execute(CommandIDs.openRun, { run_id: run.run_id })}
        >
          {name}
        </button>
        <OfWhom of={run} me={model.me} trans={trans} />
        {reason ? (
          <div className="jp-ElementReason" title={run.reason}>
            {reason}
          </div>
        ) : null}
      </Cell>
      <Cell column={trans.__('Notebook')} className="jp-ElementTable-place">
        {run.notebook}
      </Cell>
      <Cell column={trans.__('Started')}>
        {run.started_at !== null ? (
          <Ago at={run.started_at} trans={trans} />
        ) : hasEnded(run) ? (
          '–'
        ) : (
          trans.__('Not yet')
        )}
      </Cell>
      <Cell column={trans.__('Duration')} className="jp-ElementTable-number">
        {duration ?? '–'}
      </Cell>
      <Cell column={trans.__('Trigger')}>{triggerWord(run.trigger, trans)}</Cell>
      <Cell column={trans.__('Actions')} className="jp-ElementTable-actions">
        <Action run={run} name={name} model={model} trans={trans} />
      </Cell>
    </tr>
  );
}

/** One button, so that it keeps the focus while the run goes on. */
function Action({
  run,
  name,
  model,
  trans
}: {
  run: Run;
  name: string;
  model: RunsModel;
  trans: TranslationBundle;
}): React.ReactElement | null {
  const busy = model.isBusy(run.run_id);
  if (!isAtLeast('member', model.me, run.team)) {
    return null;
  }
  if (hasEnded(run)) {
    return (
      <Act
        label={trans.__('Run again')}
        about={name}
        busy={busy}
        onClick={() => void model.again(run)}
      />
    );
  }
  const stopping = run.stop_requested_at !== null || busy;
  return (
    <Act
      label={stopping ? trans.__('Stopping…') : trans.__('Stop')}
      about={name}
      busy={stopping}
      onClick={() => void model.stop(run)}
    />
  );
}
