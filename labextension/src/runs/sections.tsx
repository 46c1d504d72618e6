/**
 * What can be unfolded about a run: parameters, log, files, attempts, states, and what has changed.
 */
import type { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import type { Run } from '../api/types';
import { Button, Trouble, Waiting } from '../environments/parts';
import { useAnswer } from '../jobs/list/answer';
import { moment } from '../jobs/list/words';
import { hasEnded } from './events';
import { Files } from './files';
import type { IActions } from './head';
import { Log } from './logView';
import type { RunModel } from './model';
import { differences } from './past';
import { Resources } from './resourcesView';
import { lasted, secondsOf, stateSign, stateWord, valueText } from './words';

interface IProps {
  model: RunModel;
  run: Run;
  actions: IActions;
  /** Where the files of the run are. */
  address: string;
  trans: TranslationBundle;
}

export function Sections({ model, run, actions, address, trans }: IProps): React.ReactElement {
  const parameters = Object.entries(run.parameters);
  const recorded = Object.entries(run.recorded);
  const { moments } = model.log;
  const [last] = model.past?.succeeded ?? [];
  const attempts = model.past?.attempts ?? [];
  return (
    <div className="jp-ElementRun-sections">
      {last && hasEnded(run) && run.state !== 'succeeded' ? (
        <Section title={trans.__('Since the last success')} open>
          {() => <Since model={model} run={run} last={last} actions={actions} trans={trans} />}
        </Section>
      ) : null}
      <Section title={trans._n('%1 parameter', '%1 parameters', parameters.length)}>
        {() =>
          parameters.length ? (
            <Values caption={trans.__('Parameters')} values={parameters} />
          ) : (
            <p>{trans.__('It runs with the values that the notebook itself gives.')}</p>
          )
        }
      </Section>
      {recorded.length ? (
        <Section title={trans._n('%1 recorded value', '%1 recorded values', recorded.length)}>
          {() => <Values caption={trans.__('Recorded values')} values={recorded} />}
        </Section>
      ) : null}
      <Section title={trans.__('Log')}>
        {() => <Log log={model.log} run={run} trans={trans} />}
      </Section>
      <Section title={trans._n('%1 file', '%1 files', run.artifacts.length)}>
        {() => <Files run={run} address={address} trans={trans} />}
      </Section>
      {run.started_at === null ? null : (
        <Section title={trans.__('Resources')}>
          {() => <Resources usage={model.usage} run={run} trans={trans} />}
        </Section>
      )}
      {attempts.length > 1 ? (
        <Section title={trans._n('%1 attempt', '%1 attempts', attempts.length)}>
          {() => <Attempts run={run} attempts={attempts} actions={actions} trans={trans} />}
        </Section>
      ) : null}
      <Section title={trans.__('Compare with…')}>
        {() => <Others model={model} actions={actions} trans={trans} />}
      </Section>
      {moments.length ? (
        <Section title={trans.__('States')}>
          {() => (
            <ol className="jp-ElementRun-moments">
              {moments.map((moment, at) => (
                <li key={at}>
                  <time dateTime={moment.at} title={new Date(moment.at).toLocaleString()}>
                    {new Date(moment.at).toLocaleTimeString()}
                  </time>{' '}
                  <strong>{moment.word}</strong> {moment.reason}
                </li>
              ))}
            </ol>
          )}
        </Section>
      ) : null}
    </div>
  );
}

/** Made when it is unfolded. */
function Section({
  title,
  open = false,
  children
}: {
  title: string;
  open?: boolean;
  children: () => React.ReactNode;
}): React.ReactElement {
  const [isOpen, setOpen] = React.useState(open);
  return (
    <details open={isOpen} onToggle={event => setOpen(event.currentTarget.open)}>
      <summary>{title}</summary>
      {isOpen ? children() : null}
    </details>
  );
}

function Values({ caption, values }: { caption: string; values: [string, unknown][] }) {
  return (
    <table className="jp-ElementRun-table">
      <caption>{caption}</caption>
      <tbody>
        {values.map(([name, value]) => (
          <tr key={name}>
            <th scope="row">{name}</th>
            <td>
              <code>{valueText(value)}</code>
            </td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

function Since({
  model,
  run,
  last,
  actions,
  trans
}: Omit<IProps, 'address'> & { last: Run }): React.ReactElement {
  const found = differences(run, last, model.past?.files ?? null, trans);
  return (
    <>
      <dl className="jp-ElementFacts">
        {found.map(({ what, changed, lines }) => (
          <React.Fragment key={what}>
            <dt>{what}</dt>
            <dd>
              {changed ? trans.__('changed') : trans.__('the same')}
              {lines.slice(0, 20).map(line => (
                <div key={line}>{line}</div>
              ))}
              {lines.length > 20 ? (
                <div>{trans._n('and %1 more', 'and %1 more', lines.length - 20)}</div>
              ) : null}
            </dd>
          </React.Fragment>
        ))}
      </dl>
      {found.some(({ changed }) => changed) ? null : (
        <p>{trans.__('What is left to differ is what it reads from elsewhere.')}</p>
      )}
      <Button
        label={trans.__('Show the last success')}
        onClick={() => actions.openRun(last.run_id)}
      />
    </>
  );
}

/** The other runs, of which one is chosen to be compared with this one. */
function Others({ model, actions, trans }: Pick<IProps, 'model' | 'actions' | 'trans'>) {
  const [asked, again] = useAnswer(() => model.others());
  const [chosen, choose] = React.useState(0);
  switch (asked.kind) {
    case 'loading':
      return <Waiting text={trans.__('Looking for other runs…')} />;
    case 'failed':
      return <Trouble problem={asked.problem} again={again} trans={trans} />;
    case 'ready':
      return asked.answer.length === 0 ? (
        <p>{trans.__('There is no other run of it yet.')}</p>
      ) : (
        <div className="jp-ElementActions">
          <select
            className="jp-mod-styled"
            aria-label={trans.__('Compare with')}
            value={chosen}
            onChange={event => choose(Number(event.target.value))}
          >
            {asked.answer.map((run, at) => (
              <option key={run.run_id} value={at}>
                {`${stateSign(run.state)} ${stateWord(run.state, trans)} · ${moment(run.created_at)}`}
              </option>
            ))}
          </select>
          <Button
            label={trans.__('Compare')}
            onClick={() => actions.compareWith(asked.answer[chosen])}
          />
        </div>
      );
  }
}

function Attempts({
  run,
  attempts,
  actions,
  trans
}: Pick<IProps, 'run' | 'actions' | 'trans'> & { attempts: readonly Run[] }) {
  return (
    <table className="jp-ElementRun-table">
      <caption>{trans.__('Attempts')}</caption>
      <tbody>
        {attempts.map(each => {
          const seconds = secondsOf(each, Date.now());
          return (
            <tr key={each.run_id}>
              <th scope="row">{trans.__('Attempt %1', each.attempt)}</th>
              <td>
                <span aria-hidden="true">{stateSign(each.state)} </span>
                {stateWord(each.state, trans)}
              </td>
              <td>{seconds === null ? '' : lasted(seconds, trans)}</td>
              <td>
                {each.run_id === run.run_id ? (
                  trans.__('this one')
                ) : (
                  <Button label={trans.__('Show')} onClick={() => actions.openRun(each.run_id)} />
                )}
              </td>
            </tr>
          );
        })}
      </tbody>
    </table>
  );
}
