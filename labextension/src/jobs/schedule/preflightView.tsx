/**
 * What is to be known before it is submitted.
 */
import type { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import type { Finding } from '../../api/types';
import { Folded } from '../../environments/parts';
import { nameOf } from '../../environments/words';
import { scarce } from '../../quota';
import { size } from '../../resources/words';
import type { ScheduleModel } from './model';
import { environmentWord, severityLabel } from './words';

interface IPart {
  model: ScheduleModel;
  trans: TranslationBundle;
}

/** The environment, and the list of what was found; a warning is accepted by submitting. */
export function PreflightView({ model, trans }: IPart): React.ReactElement | null {
  const { findings, form, stored, obstacle, quota } = model;
  if (stored && !form.update) {
    return (
      <>
        <PinsView model={model} trans={trans} />
        {model.advice?.evidence || quota ? (
          <ul>
            <AdviceLine model={model} trans={trans} />
            <QuotaLines model={model} trans={trans} />
          </ul>
        ) : null}
      </>
    );
  }
  const warns =
    findings.some(({ severity }) => severity === 'warning') ||
    (quota !== null && (quota.fits === false || scarce(quota).length > 0));
  return (
    <section
      className="jp-ElementPreflight"
      aria-label={trans.__('Before it runs')}
      tabIndex={-1}
      data-refused={obstacle === null ? undefined : ''}
    >
      <EnvironmentLine model={model} trans={trans} />
      <ul>
        {model.isDirty ? (
          <Line severity="info" trans={trans}>
            {trans.__('Saves and copies the notebook as it is now.')}
          </Line>
        ) : null}
        <AdviceLine model={model} trans={trans} />
        <QuotaLines model={model} trans={trans} />
        {findings.map((finding, number) => (
          <FindingLine key={number} finding={finding} trans={trans} />
        ))}
      </ul>
      {warns && obstacle === null ? (
        <p className="jp-ElementAside">
          {trans.__('A warning does not keep it from running: going on accepts it.')}
        </p>
      ) : null}
      {obstacle !== null ? (
        <p role="alert" className="jp-ElementField-fault">
          {trans.__('It cannot run like this: %1', obstacle)}
        </p>
      ) : null}
    </section>
  );
}

function EnvironmentLine({ model, trans }: IPart): React.ReactElement | null {
  const { environment: watched } = model;
  const environment = watched?.environment ?? null;
  if (watched?.state.kind === 'foreign') {
    return <p>{trans.__('Environment: that of the kernel %1', watched.state.kernel)}</p>;
  }
  if (watched?.state.kind === 'unknown') {
    return <p>{trans.__('Environment: not known. %1', watched.state.problem.message)}</p>;
  }
  if (!watched || !environment) {
    return null;
  }
  const { failure } = watched;
  const state = failure ? 'failed' : watched.build?.running ? 'building' : environment.state;
  const standing = { ready: 'ready', building: 'building', failed: 'failed', missing: '' }[state];
  return (
    <>
      <p className="jp-ElementPreflight-environment" data-standing={standing}>
        <span className="jp-ElementMark" aria-hidden="true" />
        {trans.__(
          'Environment: %1, %2',
          nameOf(environment.definition, trans),
          environmentWord(state, trans)
        )}
      </p>
      {failure ? (
        <ul>
          <Line severity="error" trans={trans}>
            {`${failure.title}. ${failure.summary}`}
            {failure.tool_output ? (
              <Folded summary={trans.__('Details')} text={failure.tool_output} trans={trans} />
            ) : null}
          </Line>
        </ul>
      ) : null}
    </>
  );
}

/** What those before it needed; nothing follows from it by itself. */
function AdviceLine({ model, trans }: IPart): React.ReactElement | null {
  const { memory_bytes, evidence } = model.advice ?? {};
  if (!memory_bytes || !evidence) {
    return null;
  }
  const { runs, peak_p95_bytes, oom_kills } = evidence;
  const enough = model.places.advised(model.advice);
  return (
    <Line severity="info" trans={trans}>
      {trans.__(
        'The last %1 runs needed up to %2 of memory; %3 is enough.',
        runs,
        size(peak_p95_bytes),
        enough ? trans.__('the size %1', enough.title) : size(memory_bytes)
      )}
      {oom_kills ? (
        <>
          {' '}
          {trans._n(
            '%1 of them was killed for want of memory.',
            '%1 of them were killed for want of memory.',
            oom_kills
          )}
        </>
      ) : null}
    </Line>
  );
}

/** What of the quota speaks against it, or is nearly used up; a job meets it when it fires. */
function QuotaLines({ model, trans }: IPart): React.ReactElement | null {
  const { quota, form } = model;
  if (!quota) {
    return null;
  }
  const { never, fits, sentence, hint } = quota;
  if (never || (fits === false && form.when.kind === 'now')) {
    return (
      <Line severity={never ? 'error' : 'warning'} trans={trans}>
        {never ? sentence : trans.__('It will wait: %1', sentence)}
        <span className="jp-ElementAside"> {hint}</span>
      </Line>
    );
  }
  return (
    <>
      {scarce(quota).map(said => (
        <Line key={said} severity="warning" trans={trans}>
          {said}
        </Line>
      ))}
    </>
  );
}

function PinsView({ model, trans }: IPart): React.ReactElement | null {
  const pins = Object.values(model.stored?.pins ?? {});
  return pins.length > 0 ? (
    <p>
      {trans.__('Environment: %1, as it was locked when the job was saved', pins[0].definition)}
    </p>
  ) : null;
}

function FindingLine({
  finding,
  trans
}: {
  finding: Finding;
  trans: TranslationBundle;
}): React.ReactElement {
  const { severity, message, hint, cell, paths } = finding;
  return (
    <Line severity={severity} trans={trans}>
      {message}
      {hint ? <span className="jp-ElementAside"> {hint}</span> : null}
      {cell === null ? null : (
        <span className="jp-ElementAside"> {trans.__('Cell %1.', String(cell + 1))}</span>
      )}
      {paths.length > NAMED ? (
        <details className="jp-ElementFolded">
          <summary>{trans._n('%1 file', '%1 files', paths.length)}</summary>
          <ul>
            {paths.map(path => (
              <li key={path}>{path}</li>
            ))}
          </ul>
        </details>
      ) : null}
    </Line>
  );
}

/** So many files are named by the message itself. */
const NAMED = 3;

const SIGNS = { error: '✕', warning: '⚠', info: 'ℹ' };

function Line({
  severity,
  trans,
  children
}: {
  severity: Finding['severity'];
  trans: TranslationBundle;
  children: React.ReactNode;
}): React.ReactElement {
  return (
    <li data-severity={severity}>
      <span className="jp-ElementSign" aria-hidden="true">
        {SIGNS[severity]}
      </span>
      <div>
        <strong>{severityLabel(severity, trans)}: </strong>
        {children}
      </div>
    </li>
  );
}
