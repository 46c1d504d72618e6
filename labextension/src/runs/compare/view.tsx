/**
 * Two runs beside each other.
 */
import type { IRenderMimeRegistry } from '@jupyterlab/rendermime';
import type { TranslationBundle } from '@jupyterlab/translation';
import { VDomRenderer } from '@jupyterlab/ui-components';
import type { Message } from '@lumino/messaging';
import * as React from 'react';

import type { Run } from '../../api/types';
import { Ago, Trouble, Waiting } from '../../environments/parts';
import { FilesView } from '../../jobs/list/filesView';
import { StateIcon } from '../../jobs/list/parts';
import type { IServices } from '../../jobs/services';
import { CommandIDs } from '../../jobs/services';
import { hasEnded } from '../events';
import { Missing } from '../front';
import { untrusted } from '../outputs';
import { lasted, nameOf, secondsOf, stateWord } from '../words';
import { Cells } from './cells';
import { tenths, valueOf, valuesOf } from './comparison';
import type { ISide } from './model';
import { ComparisonModel } from './model';
import type { IRow } from './values';
import { Values } from './values';

/** The content of the main area widget; it sets its own title once it knows the runs. */
export class ComparisonView extends VDomRenderer<ComparisonModel> {
  constructor(
    private readonly _services: IServices,
    first: string,
    second: string
  ) {
    super(new ComparisonModel(_services.client, first, second));
    this._rendermime = untrusted(_services.rendermime);
    this.addClass('jp-ElementRun');
    this.addClass('jp-ElementCompare');
    this.node.tabIndex = -1;
    this.model.stateChanged.connect(this._entitle, this);
  }

  dispose(): void {
    const { model } = this;
    super.dispose();
    model?.dispose();
  }

  protected onAfterAttach(message: Message): void {
    super.onAfterAttach(message);
    this._look();
  }

  protected onAfterShow(message: Message): void {
    super.onAfterShow(message);
    this._look();
  }

  protected onActivateRequest(message: Message): void {
    super.onActivateRequest(message);
    this.node.focus();
  }

  protected render(): React.ReactElement {
    const { commands, trans } = this._services;
    const { model } = this;
    const { state } = model;
    const again = () => void model.refresh();
    switch (state.kind) {
      case 'loading':
        return (
          <div className="jp-ElementRun-front">
            <Waiting text={trans.__('Looking for the runs…')} />
          </div>
        );
      case 'missing':
        return (
          <div className="jp-ElementRun-front">
            <Missing
              problem={state.problem}
              onJobs={() => void commands.execute(CommandIDs.openJobs, { tab: 'runs' })}
              trans={trans}
            />
          </div>
        );
      case 'failed':
        return (
          <div className="jp-ElementRun-front">
            <Trouble
              title={trans.__('The runs could not be compared')}
              problem={state.problem}
              again={again}
              trans={trans}
            />
          </div>
        );
      case 'ready': {
        const { first, second, pairs, stale } = state;
        return (
          <div className="jp-ElementRun-front">
            {stale ? (
              <Trouble
                title={trans.__('Not updated')}
                problem={stale}
                again={again}
                trans={trans}
              />
            ) : null}
            <h1>{titleOf(first.run, second.run, trans)}</h1>
            <Facts first={first} second={second} services={this._services} />
            {hasEnded(first.run) && hasEnded(second.run) ? null : (
              <p role="status">
                {trans.__('Not all has ended yet: the cells are as they are now.')}
              </p>
            )}
            <Named first={first.run} second={second.run} trans={trans} />
            <h2>{trans.__('Cells')}</h2>
            {first.cells && second.cells ? (
              <Cells pairs={pairs} rendermime={this._rendermime} trans={trans} />
            ) : (
              <p>
                {trans.__(
                  'The cells cannot be compared: of %1 there is no executed notebook.',
                  first.cells ? 'B' : 'A'
                )}
              </p>
            )}
          </div>
        );
      }
    }
  }

  protected onBeforeHide(message: Message): void {
    super.onBeforeHide(message);
    this.model.rest();
  }

  /** Ask when it is seen, unless all is known. */
  private _look(): void {
    const { state } = this.model;
    const isOver =
      state.kind === 'ready' && hasEnded(state.first.run) && hasEnded(state.second.run);
    if (this.isVisible && !isOver) {
      void this.model.refresh();
    }
  }

  private _entitle(): void {
    const { state } = this.model;
    if (state.kind === 'ready') {
      this.title.label = titleOf(state.first.run, state.second.run, this._services.trans);
    }
  }

  private readonly _rendermime: IRenderMimeRegistry;
}

function titleOf(first: Run, second: Run, trans: TranslationBundle): string {
  const [one, other] = [nameOf(first), nameOf(second)];
  return one === other ? trans.__('Two runs of %1', one) : trans.__('%1 and %2', one, other);
}

/** How both runs are. */
function Facts({
  first,
  second,
  services: { client, commands, trans }
}: {
  first: ISide;
  second: ISide;
  services: IServices;
}): React.ReactElement {
  const runs = [first.run, second.run];
  const [snapshot, other] = runs.map(({ snapshot_id }) => snapshot_id);
  const [isOpen, setOpen] = React.useState(false);
  const row = (
    name: string,
    known: (run: Run) => unknown,
    shown?: (run: Run) => React.ReactNode,
    unit?: 's'
  ): IRow => ({
    value: valueOf(name, known(runs[0]) ?? '', known(runs[1]) ?? ''),
    first: shown?.(runs[0]),
    second: shown?.(runs[1]),
    unit
  });
  const link = (run: Run) => (
    <>
      <button
        type="button"
        className="jp-ElementLink"
        title={run.run_id}
        onClick={() => void commands.execute(CommandIDs.openRun, { run_id: run.run_id })}
      >
        {nameOf(run)}
      </button>{' '}
      {run.started_at ? <Ago at={run.started_at} trans={trans} /> : trans.__('not started yet')}
    </>
  );
  return (
    <>
      <Values
        caption={trans.__('Runs')}
        name={trans.__('About')}
        rows={[
          {
            value: valueOf(trans.__('Run'), first.run.run_id, second.run.run_id),
            first: link(first.run),
            second: link(second.run),
            isBare: true
          },
          row(
            trans.__('State'),
            run => run.state,
            run => (
              <>
                <StateIcon state={run.state} /> {stateWord(run.state, trans)}
              </>
            )
          ),
          row(
            trans.__('Duration'),
            run => tenths(secondsOf(run, Date.now())),
            run => {
              const seconds = secondsOf(run, Date.now());
              return seconds === null ? '–' : lasted(seconds, trans);
            },
            's'
          ),
          row(
            trans.__('Environment'),
            run => run.environment_id ?? run.kernel,
            run => [run.definition ?? run.kernel, run.environment_id?.slice(0, 12)].join(' ')
          ),
          row(
            trans.__('Code'),
            run => run.snapshot_id,
            run => <code>{run.snapshot_id.slice(0, 12)}</code>
          )
        ]}
        trans={trans}
      />
      {snapshot === other ? null : (
        <details onToggle={event => setOpen(event.currentTarget.open)}>
          <summary>{trans.__('Files that differ')}</summary>
          {isOpen ? (
            <FilesView before={snapshot} after={other} client={client} trans={trans} />
          ) : null}
        </details>
      )}
    </>
  );
}

/** Parameters and recorded values. */
function Named({
  first,
  second,
  trans
}: {
  first: Run;
  second: Run;
  trans: TranslationBundle;
}): React.ReactElement {
  const rows = (one: Run['parameters'], other: Run['parameters']) =>
    valuesOf(one, other).map(value => ({ value }));
  const parameters = rows(first.parameters, second.parameters);
  const recorded = rows(first.recorded, second.recorded);
  return (
    <>
      <h2>{trans.__('Parameters')}</h2>
      {parameters.length ? (
        <Values
          caption={trans.__('Parameters')}
          name={trans.__('Name')}
          rows={parameters}
          trans={trans}
        />
      ) : (
        <p>{trans.__('Both run with the values that the notebook itself gives.')}</p>
      )}
      {recorded.length ? (
        <>
          <h2>{trans.__('Recorded values')}</h2>
          <Values
            caption={trans.__('Recorded values')}
            name={trans.__('Name')}
            rows={recorded}
            trans={trans}
          />
        </>
      ) : null}
    </>
  );
}
