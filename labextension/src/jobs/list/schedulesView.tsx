/**
 * The jobs as a person sees them.
 */
import { Dialog, InputDialog, Notification, showDialog } from '@jupyterlab/apputils';
import type { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import { isAtLeast } from '../../account';
import { Button } from '../../environments/parts';
import { stateWord } from '../../runs/words';
import type { IServices } from '../services';
import { CommandIDs } from '../services';
import { HistoryView } from './historyView';
import { Act, Cell, Filter, Listed, OfWhom, StateIcon, Table, Whose } from './parts';
import type { JobEntry, JobPage, SchedulesModel } from './schedules';
import type { Schedule, StoredJob } from './words';
import { ahead, idOf, moment, titleOf } from './words';

interface IProps {
  model: SchedulesModel;
  services: IServices;
  /** Show the runs of a job. */
  onRuns: (job: string) => void;
}

export function SchedulesView(props: IProps): React.ReactElement {
  const { model, services } = props;
  const { trans } = services;
  return (
    <>
      <div className="jp-ElementJobs-wanted">
        <Filter
          label={trans.__('Filter schedules')}
          value={model.text}
          onChange={text => (model.text = text)}
        />
        <Whose model={model} trans={trans} />
      </div>
      <Listed
        model={model}
        waiting={trans.__('Looking at the schedules…')}
        failing={trans.__('The schedules could not be listed.')}
        pages={[trans.__('Previous schedules'), trans.__('Further schedules')]}
        trans={trans}
      >
        {page => (
          <>
            <Broken errors={page.errors} trans={trans} />
            {page.items.length > 0 ? (
              <Rows entries={page.items} {...props} />
            ) : (
              <Nothing model={model} services={services} />
            )}
          </>
        )}
      </Listed>
    </>
  );
}

/** The job files that cannot be read. */
function Broken({
  errors,
  trans
}: {
  errors: JobPage['errors'];
  trans: TranslationBundle;
}): React.ReactElement | null {
  return errors.length === 0 ? null : (
    <div role="alert" className="jp-ElementTrouble">
      <strong>
        {trans._n(
          'The file of %1 job cannot be read.',
          'The files of %1 jobs cannot be read.',
          errors.length
        )}
      </strong>
      <ul>
        {errors.map(({ path, line, message, hint }) => (
          <li key={path}>
            <code>{line === null ? path : `${path}:${line}`}</code>: {message} {hint}
          </li>
        ))}
      </ul>
    </div>
  );
}

function Nothing({
  model,
  services
}: {
  model: SchedulesModel;
  services: IServices;
}): React.ReactElement {
  const { commands, trans } = services;
  if (model.text.trim() || model.whose) {
    return (
      <div className="jp-ElementNothing">
        <p>
          {model.text.trim()
            ? trans.__('No schedule holds these words.')
            : trans.__('There are no such schedules.')}
        </p>
        <Button
          label={trans.__('Show all schedules')}
          onClick={() => (model.text = model.whose = '')}
        />
      </div>
    );
  }
  return (
    <div className="jp-ElementNothing">
      <p>{trans.__('Nothing is scheduled yet. A schedule runs a notebook at set times.')}</p>
      {commands.isEnabled(CommandIDs.schedule) ? (
        <Button
          main
          label={trans.__('Schedule the open notebook')}
          onClick={() => void commands.execute(CommandIDs.schedule)}
        />
      ) : (
        <p>{trans.__('Open a notebook to schedule it.')}</p>
      )}
    </div>
  );
}

function Rows({ entries, ...props }: IProps & { entries: JobEntry[] }): React.ReactElement {
  const { trans } = props.services;
  const [opened, open] = React.useState<string | null>(null);
  const columns = [
    trans.__('Name'),
    trans.__('Notebook'),
    trans.__('Schedule'),
    trans.__('Next'),
    trans.__('Last runs'),
    trans.__('On'),
    trans.__('Actions')
  ];
  return (
    <Table caption={trans.__('Schedules')} columns={columns}>
      {entries.map(entry => {
        const id = idOf(entry.stored);
        return (
          <React.Fragment key={id}>
            <Row
              entry={entry}
              opened={opened === id}
              onHistory={() => open(opened === id ? null : id)}
              {...props}
            />
            {opened === id ? (
              <tr role="row" className="jp-ElementTable-more">
                <td role="cell" colSpan={columns.length}>
                  <HistoryView
                    key={entry.stored.version}
                    stored={entry.stored}
                    client={props.services.client}
                    trans={trans}
                  />
                </td>
              </tr>
            ) : null}
          </React.Fragment>
        );
      })}
    </Table>
  );
}

function Row({
  entry,
  model,
  services,
  onRuns,
  opened,
  onHistory
}: IProps & { entry: JobEntry; opened: boolean; onHistory: () => void }): React.ReactElement {
  const { commands, trans } = services;
  const { stored, next_fire, last_runs } = entry;
  const { job } = stored;
  const id = idOf(stored);
  const title = titleOf(stored);
  const busy = model.isBusy(id);
  const drift = model.driftOf(stored);
  const { me } = model;
  const mayManage = isAtLeast('lead', me, job.team);
  const isMine = job.owner === me?.name;
  const onOrOff = job.paused ? trans.__('Off') : trans.__('On');
  const mayEdit = isAtLeast('member', me, job.team);
  return (
    <tr role="row" data-job={id}>
      <Cell column={trans.__('Name')} className="jp-ElementTable-name">
        <button
          type="button"
          className="jp-ElementLink"
          title={trans.__('Show the runs of %1', id)}
          onClick={() => onRuns(id)}
        >
          {title}
        </button>
        <OfWhom of={job} me={me} trans={trans} />
        {stored.held ? <div>{stored.held}</div> : null}
        {job.description ? <div className="jp-ElementReason">{job.description}</div> : null}
      </Cell>
      <Cell column={trans.__('Notebook')} className="jp-ElementTable-place">
        {job.tasks.map(({ name, notebook }) => (
          <div key={name}>{notebook}</div>
        ))}
        {drift && mayEdit ? (
          <div className="jp-ElementDrift">
            <span>{trans.__('Changed since this was scheduled.')}</span>
            <Act
              label={trans.__('Update')}
              about={title}
              busy={busy}
              onClick={() => void model.update(stored, drift)}
            />
            <Act label={trans.__('Keep')} about={title} onClick={() => model.keep(stored, drift)} />
          </div>
        ) : null}
      </Cell>
      <Cell column={trans.__('Schedule')}>{scheduleOf(job.schedule, model, trans)}</Cell>
      <Cell column={trans.__('Next')}>
        <Next stored={stored} fire={next_fire} trans={trans} />
      </Cell>
      <Cell column={trans.__('Last runs')}>
        <LastRuns states={last_runs} trans={trans} />
      </Cell>
      <Cell column={trans.__('On')}>
        {job.schedule === null ? (
          '–'
        ) : !mayEdit ? (
          onOrOff
        ) : (
          <button
            type="button"
            role="switch"
            className="jp-ElementSwitch"
            aria-checked={!job.paused}
            aria-label={trans.__('%1 fires by its schedule', title)}
            aria-busy={busy}
            onClick={() => {
              if (!busy) {
                void model.setPaused(stored, !job.paused);
              }
            }}
          >
            {onOrOff}
          </button>
        )}
      </Cell>
      <Cell column={trans.__('Actions')} className="jp-ElementTable-actions jp-mod-many">
        {mayEdit ? (
          <>
            <Act
              label={trans.__('Run now')}
              about={title}
              busy={busy}
              onClick={() => void runNow(stored, model, services)}
            />
            <Act
              label={trans.__('Edit')}
              about={title}
              onClick={() => void commands.execute(CommandIDs.schedule, { job: id })}
            />
          </>
        ) : null}
        <Act label={trans.__('History')} about={title} aria-expanded={opened} onClick={onHistory} />
        {me?.hub && mayEdit && (!isMine || stored.offered_by) ? (
          <Act
            label={trans.__('Take over')}
            about={title}
            busy={busy}
            onClick={() => void takeOver(stored, me.name, model, trans)}
          />
        ) : null}
        {me?.hub && mayManage ? (
          <Act
            label={trans.__('Hand over…')}
            about={title}
            busy={busy}
            onClick={() => void handOver(stored, model, trans)}
          />
        ) : null}
        {mayManage || (mayEdit && isMine) ? (
          <Act
            label={trans.__('Delete')}
            about={title}
            busy={busy}
            onClick={() => void remove(stored, model, trans)}
          />
        ) : null}
      </Cell>
    </tr>
  );
}

function Next({
  stored: { job, held },
  fire,
  trans
}: {
  stored: StoredJob;
  fire: JobEntry['next_fire'];
  trans: TranslationBundle;
}): React.ReactElement {
  if (job.paused || held) {
    return <>{trans.__('Paused')}</>;
  }
  if (fire === null) {
    const byTime = job.schedule !== null && job.schedule.kind !== 'asset';
    return <>{byTime ? trans.__('Never again') : '–'}</>;
  }
  const { at, dst } = fire;
  return (
    <>
      <time dateTime={at} title={moment(at)}>
        {ahead(at, Date.now())}
      </time>
      {dst === 'shifted' ? (
        <div className="jp-ElementAside">{trans.__('later, since the clock is put forward')}</div>
      ) : null}
      {dst === 'repeated' ? (
        <div className="jp-ElementAside">{trans.__('the clock is put back then')}</div>
      ) : null}
    </>
  );
}

function LastRuns({
  states,
  trans
}: {
  states: JobEntry['last_runs'];
  trans: TranslationBundle;
}): React.ReactElement {
  return states.length === 0 ? (
    <>{trans.__('None yet')}</>
  ) : (
    <ul className="jp-ElementMarks" aria-label={trans.__('Last runs, the newest first')}>
      {states.map((state, place) => (
        <li key={place} title={stateWord(state, trans)}>
          <StateIcon state={state} />
          <span className="jp-ElementUnseen">{stateWord(state, trans)}</span>
        </li>
      ))}
    </ul>
  );
}

/** When a job fires, in words. */
function scheduleOf(
  schedule: Schedule | null,
  model: SchedulesModel,
  trans: TranslationBundle
): string {
  if (schedule === null) {
    return trans.__('When it is run by hand');
  }
  if (schedule.kind === 'once') {
    return trans.__('Once, %1', moment(schedule.at));
  }
  const words = model.wordsFor(schedule);
  if (schedule.kind === 'asset') {
    return words ?? trans.__('After %1', schedule.jobs.join(', '));
  }
  return words ?? `${schedule.expression} ${schedule.timezone}`;
}

async function runNow(
  stored: StoredJob,
  model: SchedulesModel,
  { commands, trans }: IServices
): Promise<void> {
  const started = await model.trigger(stored);
  if (started === null) {
    return; // the list says why
  }
  const runId = started.run_id;
  Notification.success(
    runId === null
      ? trans.__('Airflow starts %1 now.', titleOf(stored))
      : trans.__('Running %1 in the background.', titleOf(stored)),
    {
      autoClose: 5_000,
      actions: [
        {
          label: trans.__('See run'),
          callback: () =>
            void (runId === null
              ? commands.execute(CommandIDs.openJobs, { tab: 'runs' })
              : commands.execute(CommandIDs.openRun, { run_id: runId }))
        }
      ]
    }
  );
}

async function remove(
  stored: StoredJob,
  model: SchedulesModel,
  trans: TranslationBundle
): Promise<void> {
  const accepted = await isSure(
    trans.__('Delete %1?', titleOf(stored)),
    trans.__('It will not run again. Past runs are kept.'),
    trans.__('Delete job'),
    trans
  );
  if (accepted) {
    await model.remove(stored);
  }
}

async function takeOver(
  stored: StoredJob,
  me: string,
  model: SchedulesModel,
  trans: TranslationBundle
): Promise<void> {
  const accepted = await isSure(
    trans.__('Take over %1?', titleOf(stored)),
    trans.__('From now on it runs as you, and may do all that you may.'),
    trans.__('Take over'),
    trans
  );
  if (accepted) {
    await model.handOver(stored, me);
  }
}

async function isSure(
  title: string,
  body: string,
  label: string,
  trans: TranslationBundle
): Promise<boolean> {
  const { button } = await showDialog({
    title,
    body,
    buttons: [Dialog.cancelButton({ label: trans.__('Cancel') }), Dialog.warnButton({ label })],
    defaultButton: 0
  });
  return button.accept;
}

async function handOver(
  stored: StoredJob,
  model: SchedulesModel,
  trans: TranslationBundle
): Promise<void> {
  const { value } = await InputDialog.getText({
    title: trans.__('Hand over %1', titleOf(stored)),
    label: trans.__('To a member of the team %1, who then takes it:', stored.job.team),
    okLabel: trans.__('Hand over')
  });
  if (value?.trim()) {
    await model.handOver(stored, value.trim());
  }
}
