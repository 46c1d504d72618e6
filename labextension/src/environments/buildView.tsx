/**
 * How an environment is being made, and why it could not be.
 */
import type { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import type { Failure } from '../api/types';
import type { EnvironmentModel } from './model';
import { Button, Copy, Folded } from './parts';
import { kindOf, stepOf } from './words';

interface IProps {
  model: EnvironmentModel;
  trans: TranslationBundle;
}

export function BuildView({ model, trans }: IProps): React.ReactElement | null {
  const { build, busy } = model;
  if (!build) {
    return null;
  }
  const { last, running, log } = build;
  const step = last ? stepOf(last, trans) : trans.__('starting');
  return (
    <div className="jp-ElementBuild">
      {running ? (
        <>
          <label>
            {trans.__('Building: %1', step)}
            <progress
              value={last?.total ? (last.done ?? 0) : undefined}
              max={last?.total || undefined}
            />
          </label>
          <Button
            label={busy === 'cancel' ? trans.__('Cancelling…') : trans.__('Cancel the build')}
            busy={busy !== null}
            onClick={() => void model.cancel()}
          />
        </>
      ) : null}
      {log.length > 0 ? <Log lines={log} running={running} trans={trans} /> : null}
    </div>
  );
}

/** The log; it follows its end until a person scrolls up. */
function Log({
  lines,
  running,
  trans
}: {
  lines: readonly string[];
  running: boolean;
  trans: TranslationBundle;
}): React.ReactElement {
  const text = lines.join('\n');
  const log = React.useRef<HTMLPreElement>(null);
  const atEnd = React.useRef(true);
  React.useLayoutEffect(() => {
    if (log.current && atEnd.current) {
      log.current.scrollTop = log.current.scrollHeight;
    }
  }, [text]);
  return (
    <details className="jp-ElementFolded" open={running}>
      <summary>{trans.__('Log of the build')}</summary>
      <pre
        ref={log}
        tabIndex={0}
        onScroll={({ currentTarget: { scrollTop, scrollHeight, clientHeight } }) => {
          atEnd.current = scrollTop + clientHeight > scrollHeight - 8;
        }}
      >
        {text}
      </pre>
      <Copy text={text} label={trans.__('Copy the log')} trans={trans} />
    </details>
  );
}

export function FailureView({
  model,
  failure,
  trans
}: IProps & { failure: Failure }): React.ReactElement {
  const { busy } = model;
  const needsTrust = failure.code === 'needs_trust' && failure.origins.length > 0;
  return (
    <div role="alert" className="jp-ElementTrouble">
      <strong>{failure.title}</strong>
      <p>{failure.summary}</p>
      {failure.hints.length > 0 ? (
        <ul aria-label={trans.__('What helps')}>
          {failure.hints.map(hint => (
            <li key={hint}>{hint}</li>
          ))}
        </ul>
      ) : null}
      {failure.culprits.length > 0 ? (
        <>
          <h3>{trans.__('It is about')}</h3>
          <ul className="jp-ElementNotes">
            {failure.culprits.map(({ spec, file, line }) => (
              <li key={`${file}:${line}:${spec}`}>
                <code>{spec}</code> {line === null ? file : `${file}:${line}`}
              </li>
            ))}
          </ul>
        </>
      ) : null}
      {needsTrust ? (
        <>
          <h3>{trans.__('It takes packages from')}</h3>
          <ul className="jp-ElementNotes">
            {failure.origins.map(origin => (
              <li key={`${origin.kind} ${origin.location}`}>
                <code>{origin.location}</code> ({kindOf(origin, trans)}
                {origin.named_in ? `, ${origin.named_in}` : ''})
              </li>
            ))}
          </ul>
        </>
      ) : null}
      {failure.tool_output ? (
        <Folded summary={trans.__('What the tool said')} text={failure.tool_output} trans={trans} />
      ) : null}
      <div className="jp-ElementActions">
        {needsTrust ? (
          <Button
            main
            label={busy === 'trust' ? trans.__('Building…') : trans.__('Trust these and build')}
            title={trans.__('Packages from there may run their code on this machine')}
            busy={busy !== null}
            onClick={() => void model.trust(failure.origins)}
          />
        ) : null}
        <Button
          label={busy === 'build' ? trans.__('Building…') : trans.__('Try again')}
          busy={busy !== null}
          onClick={() => void (model.environment?.definition ? model.start() : model.refresh())}
        />
      </div>
    </div>
  );
}
