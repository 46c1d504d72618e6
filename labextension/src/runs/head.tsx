/**
 * What stands above the notebook of a run: how it is, how far, why it failed, what can be done.
 */
import type { TranslationBundle } from '@jupyterlab/translation';
import { UseSignal } from '@jupyterlab/ui-components';
import * as React from 'react';

import type { Run } from '../api/types';
import { Ago, Button, Folded, Trouble } from '../environments/parts';
import type { FailingCell } from './events';
import { hasEnded } from './events';
import type { RunModel } from './model';
import { askedBy, lasted, nameOf, secondsOf, stateSign, stateWord, usualSeconds } from './words';

/** What the buttons do. */
export interface IActions {
  openOutput: (cell?: number) => void;
  openToDebug: () => void;
  again: () => void;
  reveal: (cell: number) => void;
  openJobs: () => void;
  openRun: (runId: string) => void;
  compareWith: (other: Run) => void;
}

interface IProps {
  model: RunModel;
  actions: IActions;
  trans: TranslationBundle;
}

/** A stop is told as slow after this many seconds. */
const SLOW_STOP = 10;

export function Head({ model, actions, trans }: IProps): React.ReactElement | null {
  const { run, state } = model;
  if (!run) {
    return null;
  }
  const stale = state.kind === 'known' ? state.stale : null;
  return (
    <div className="jp-ElementRun-head">
      {stale ? (
        <Trouble
          title={trans.__('Not updated since %1', new Date(model.updatedAt).toLocaleTimeString())}
          problem={stale}
          again={() => void model.refresh()}
          trans={trans}
        />
      ) : null}
      <div className="jp-ElementRun-title">
        <h1>{nameOf(run)}</h1>
        <State run={run} trans={trans} />
      </div>
      <Facts model={model} run={run} trans={trans} />
      <Buttons model={model} run={run} actions={actions} trans={trans} />
      {model.refusal ? <Trouble problem={model.refusal.problem} trans={trans} /> : null}
      <Progress model={model} run={run} trans={trans} />
      <Outcome model={model} run={run} actions={actions} trans={trans} />
    </div>
  );
}

function State({ run, trans }: { run: Run; trans: TranslationBundle }): React.ReactElement {
  const stopping = run.stop_requested_at !== null && !hasEnded(run);
  return (
    <span role="status" className="jp-ElementRun-state" data-state={run.state}>
      <span aria-hidden="true" className="jp-ElementRun-sign">
        {stateSign(run.state)}
      </span>
      {stopping ? trans.__('Stopping…') : stateWord(run.state, trans)}
    </span>
  );
}

function Facts({ model, run, trans }: { model: RunModel; run: Run; trans: TranslationBundle }) {
  const environment = run.definition ?? run.kernel;
  return (
    <p className="jp-ElementRun-facts">
      {run.started_at ? (
        <span>
          {trans.__('Started')} <Ago at={run.started_at} trans={trans} />
        </span>
      ) : (
        <span>
          {trans.__('Asked for')} <Ago at={run.created_at} trans={trans} />
        </span>
      )}
      <UseSignal signal={model.ticked}>
        {() => {
          const seconds = secondsOf(run, Date.now());
          return seconds === null ? null : (
            <span>
              {hasEnded(run)
                ? trans.__('took %1', lasted(seconds, trans))
                : trans.__('for %1', lasted(seconds, trans))}
            </span>
          );
        }}
      </UseSignal>
      {environment ? (
        <span>
          {run.python
            ? trans.__('in %1, Python %2', environment, run.python)
            : trans.__('in %1', environment)}
        </span>
      ) : null}
      <span>{askedBy(run, trans)}</span>
      {run.team === run.owner ? null : (
        <span>{trans.__('for %1 of the team %2', run.owner, run.team)}</span>
      )}
      {run.size ? <span>{trans.__('size %1', run.size)}</span> : null}
      <span className="jp-ElementRun-path">{run.notebook}</span>
    </p>
  );
}

function Buttons({ model, run, actions, trans }: IProps & { run: Run }): React.ReactElement {
  const ended = hasEnded(run);
  const { busy, mayRun } = model;
  return (
    <div className="jp-ElementActions">
      {ended || !mayRun ? null : (
        <Button
          label={
            run.stop_requested_at || busy === 'stop' ? trans.__('Stopping…') : trans.__('Stop')
          }
          busy={busy === 'stop' || run.stop_requested_at !== null}
          onClick={() => void model.stop()}
        />
      )}
      {ended && mayRun ? (
        <Button
          label={trans.__('Run again')}
          title={trans.__('With the same files and parameters')}
          busy={busy === 'again'}
          onClick={actions.again}
        />
      ) : null}
      {ended && run.output_path !== null ? (
        <Button
          label={trans.__('Open output notebook')}
          title={trans.__('Saves a copy among your files and opens it')}
          busy={busy === 'open'}
          onClick={() => actions.openOutput()}
        />
      ) : null}
      {mayRun ? null : (
        <p className="jp-ElementAside">
          {trans.__('You only look on in the team %1; its leads decide who may do more.', run.team)}
        </p>
      )}
    </div>
  );
}

function Progress({ model, run, trans }: { model: RunModel; run: Run; trans: TranslationBundle }) {
  if (hasEnded(run)) {
    return null;
  }
  const total = model.cells.total ?? run.cells_total;
  if (total === null) {
    return <p className="jp-ElementRun-now">{run.reason || trans.__('The kernel starts.')}</p>;
  }
  const done = Math.min(total, Math.max(model.cells.done, run.cells_done));
  const now = model.cells.current?.firstLine ?? '';
  const said = trans.__('%1 of %2 cells', done, total);
  return (
    <div className="jp-ElementRun-progress">
      <progress aria-label={trans.__('Cells done')} max={Math.max(total, 1)} value={done}>
        {said}
      </progress>
      <p className="jp-ElementRun-now">
        <span>{said}</span>
        {now ? <code>{now}</code> : null}
        <UseSignal signal={model.ticked}>
          {() => <Left model={model} run={run} trans={trans} />}
        </UseSignal>
      </p>
      <UseSignal signal={model.ticked}>{() => <Slow run={run} trans={trans} />}</UseSignal>
    </div>
  );
}

/** How long it will still take, if the last few took about as long; nothing when there were none. */
function Left({ model, run, trans }: { model: RunModel; run: Run; trans: TranslationBundle }) {
  const usual = usualSeconds(model.past?.succeeded ?? []);
  const seconds = secondsOf(run, Date.now());
  if (usual === null || seconds === null || run.stop_requested_at) {
    return null;
  }
  return (
    <span>
      {seconds < usual
        ? trans.__('about %1 left', lasted(Math.ceil(usual - seconds), trans))
        : trans.__('longer than the usual %1', lasted(Math.ceil(usual), trans))}
    </span>
  );
}

function Slow({ run, trans }: { run: Run; trans: TranslationBundle }) {
  if (run.stop_requested_at === null) {
    return null;
  }
  const seconds = (Date.now() - Date.parse(run.stop_requested_at)) / 1000;
  return seconds < SLOW_STOP ? null : (
    <p role="status">
      {trans.__('The cell is still being interrupted. If it does not react, it is killed.')}
    </p>
  );
}

function Outcome({ model, run, actions, trans }: IProps & { run: Run }) {
  if (!hasEnded(run) || run.state === 'succeeded') {
    return null;
  }
  const cell = run.failing_cell;
  if (cell) {
    return <Failure cell={cell} model={model} run={run} actions={actions} trans={trans} />;
  }
  return run.reason ? <p className="jp-ElementRun-reason">{run.reason}</p> : null;
}

function Failure({
  cell,
  model,
  run,
  actions,
  trans
}: IProps & { run: Run; cell: FailingCell }): React.ReactElement {
  return (
    <section
      className="jp-ElementTrouble jp-ElementRun-failure"
      aria-label={trans.__('Why it failed')}
    >
      <strong>{trans.__('Cell %1 failed', cell.index + 1)}</strong>
      {cell.first_line ? <code>{cell.first_line}</code> : null}
      <p className="jp-ElementRun-error">
        {cell.evalue ? `${cell.ename}: ${cell.evalue}` : cell.ename}
      </p>
      {cell.traceback ? (
        <Folded summary={trans.__('Traceback')} text={cell.traceback} trans={trans} />
      ) : null}
      <div className="jp-ElementActions">
        <Button label={trans.__('Show the cell')} onClick={() => actions.reveal(cell.index)} />
        {run.output_path === null ? null : (
          <>
            <Button
              label={trans.__('Open at the failing cell')}
              title={trans.__('Saves a copy of the output among your files and opens it')}
              busy={model.busy === 'open'}
              onClick={() => actions.openOutput(cell.index)}
            />
            <Button
              label={trans.__('Open as notebook to debug')}
              title={trans.__('A copy beside the original, with the parameters of this run')}
              busy={model.busy === 'debug'}
              onClick={actions.openToDebug}
            />
          </>
        )}
      </div>
    </section>
  );
}
