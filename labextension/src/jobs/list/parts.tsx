/**
 * Parts that both lists are made of.
 */
import type { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import type { Me } from '../../account';
import type { Problem, Run } from '../../api/types';
import { Ago, Button, Trouble, Waiting } from '../../environments/parts';
import { canStart } from '../platform';
import type { ListingModel } from './listing';
import { OWN, STARTING } from './listing';

const DRAWINGS: Record<Run['state'], React.ReactNode> = {
  queued: <path d="M8 1.5a6.5 6.5 0 1 0 0 13 6.5 6.5 0 0 0 0-13M8 4v4.2l3 1.8" />,
  starting: <circle cx="8" cy="8" r="6.5" strokeDasharray="3.4 3.4" />,
  running: (
    <>
      <circle cx="8" cy="8" r="6.5" />
      <path d="M8 3.5a4.5 4.5 0 0 1 0 9z" fill="currentColor" stroke="none" />
    </>
  ),
  succeeded: <path d="M2.5 8.5 6.5 12.5 13.5 4" />,
  failed: <path d="M3.5 3.5l9 9M12.5 3.5l-9 9" />,
  stopped: <path d="M3.5 3.5h9v9h-9z" fill="currentColor" stroke="none" />,
  lost: <path d="M5 5.5A3 3 0 1 1 9.2 8.2C8.3 8.7 8 9.2 8 10.2M8 12.6v1.4" />
};

/** The drawing that goes with the word of a state. */
export function StateIcon({ state }: { state: Run['state'] }): React.ReactElement {
  return (
    <svg
      className="jp-ElementStateIcon"
      data-state={state}
      viewBox="0 0 16 16"
      width="14"
      height="14"
      aria-hidden="true"
      fill="none"
      stroke="currentColor"
      strokeWidth="2"
    >
      {DRAWINGS[state]}
    </svg>
  );
}

/** A button whose name tells those who listen what it is about. */
export function Act({
  label,
  about,
  onClick,
  busy = false,
  ...rest
}: {
  label: string;
  about: string;
  onClick: () => void;
  busy?: boolean;
  'aria-expanded'?: boolean;
}): React.ReactElement {
  return (
    <button
      type="button"
      className="jp-ElementButton jp-mod-styled"
      aria-label={`${label}: ${about}`}
      aria-busy={busy}
      aria-disabled={busy}
      onClick={() => {
        if (!busy) {
          onClick();
        }
      }}
      {...rest}
    >
      {label}
    </button>
  );
}

/** A cell that tells its column's name where there are no columns, and keeps its role. */
export function Cell({
  column,
  className,
  children
}: {
  column: string;
  className?: string;
  children: React.ReactNode;
}): React.ReactElement {
  return (
    <td role="cell" data-column={column} className={className}>
      <div>{children}</div>
    </td>
  );
}

/** The table of a list; its roles stay when narrow places make cards of the rows. */
export function Table({
  caption,
  columns,
  children
}: {
  caption: string;
  columns: string[];
  children: React.ReactNode;
}): React.ReactElement {
  return (
    <table className="jp-ElementTable" role="table" aria-label={caption}>
      <thead role="rowgroup">
        <tr role="row">
          {columns.map(column => (
            <th key={column} role="columnheader" scope="col">
              {column}
            </th>
          ))}
        </tr>
      </thead>
      <tbody role="rowgroup">{children}</tbody>
    </table>
  );
}

/** A field that leaves out of a list what does not hold its words. */
export function Filter({
  label,
  value,
  onChange
}: {
  label: string;
  value: string;
  onChange: (text: string) => void;
}): React.ReactElement {
  return (
    <input
      type="search"
      className="jp-ElementJobs-filter jp-mod-styled"
      aria-label={label}
      placeholder={label}
      maxLength={200}
      value={value}
      onChange={event => onChange(event.target.value)}
    />
  );
}

/** Whose things are listed; shown to those who see more than their own. */
export function Whose<Page>({
  model,
  trans
}: {
  model: ListingModel<Page>;
  trans: TranslationBundle;
}): React.ReactElement | null {
  const { me, whose } = model;
  const teams = Object.keys(me?.teams ?? {}).sort();
  return me && (teams.length > 1 || (me.hub && me.admin)) ? (
    <select
      className="jp-mod-styled"
      aria-label={trans.__('Whose')}
      value={whose}
      onChange={event => (model.whose = event.target.value)}
    >
      <option value="">{me.admin ? trans.__('Everybody’s') : trans.__('All my teams')}</option>
      <option value={OWN}>{trans.__('Mine')}</option>
      {teams.map(team => (
        <option key={team} value={team}>
          {trans.__('Team %1', team)}
        </option>
      ))}
    </select>
  ) : null;
}

/** Of what is not simply the person's own: whose it is, and at which size it runs. */
export function OfWhom({
  of: { owner, team, size },
  me,
  trans
}: {
  of: { owner: string; team: string; size: string | null };
  me: Me | null;
  trans: TranslationBundle;
}): React.ReactElement | null {
  const facts = [
    me && owner !== me.name ? trans.__('of %1', owner) : '',
    team === owner ? '' : trans.__('team %1', team),
    size ? trans.__('size %1', size) : ''
  ].filter(Boolean);
  return facts.length ? <div className="jp-ElementAside">{facts.join(' · ')}</div> : null;
}

/** What is known of a list, whatever that is; `children` show a page of it. */
export function Listed<Page>({
  model,
  waiting,
  failing,
  pages,
  trans,
  children
}: {
  model: ListingModel<Page>;
  /** What is awaited. */
  waiting: string;
  /** What failed. */
  failing: string;
  /** The words for the page before and for the one that follows. */
  pages: [string, string];
  trans: TranslationBundle;
  children: (page: Page) => React.ReactNode;
}): React.ReactElement {
  const { state, refusal } = model;
  const again = () => model.refresh();
  return (
    <>
      {refusal ? <Trouble title={refusal.title} problem={refusal.problem} trans={trans} /> : null}
      {state.kind === 'loading' ? <Waiting text={waiting} /> : null}
      {state.kind === 'failed' ? (
        <>
          <Trouble title={failing} problem={state.problem} again={again} trans={trans} />
          <Start model={model} problem={state.problem} trans={trans} />
        </>
      ) : null}
      {state.kind === 'ready' ? (
        <>
          {state.stale ? (
            <>
              <Trouble
                title={trans.__('Not updated since %1.', timeOf(state.updatedAt))}
                problem={state.stale}
                again={again}
                trans={trans}
              />
              <Start model={model} problem={state.stale} trans={trans} />
            </>
          ) : null}
          {children(state.page)}
          <div className="jp-ElementJobs-foot">
            {model.number > 0 ? (
              <Button label={pages[0]} onClick={() => model.preceding()} />
            ) : null}
            {model.hasFollowing ? (
              <Button label={pages[1]} onClick={() => model.following()} />
            ) : null}
            <span className="jp-ElementAside">
              {trans.__('Updated:')} <Ago at={state.updatedAt} trans={trans} />
            </span>
            <Button label={trans.__('Refresh')} onClick={again} />
          </div>
        </>
      ) : null}
    </>
  );
}

/** Starts what runs notebooks, where that can be done from here. */
function Start<Page>({
  model,
  problem,
  trans
}: {
  model: ListingModel<Page>;
  problem: Problem;
  trans: TranslationBundle;
}): React.ReactElement | null {
  return canStart(problem) ? (
    <Button
      main
      label={trans.__('Start what runs notebooks')}
      busy={model.isBusy(STARTING)}
      onClick={() => void model.start()}
    />
  ) : null;
}

function timeOf(at: number): string {
  return new Date(at).toLocaleTimeString(undefined, { timeStyle: 'short' });
}
