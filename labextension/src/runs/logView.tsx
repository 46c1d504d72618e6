/**
 * The log of a run, to follow, search, copy and keep.
 */
import { Clipboard } from '@jupyterlab/apputils';
import type { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import type { Run } from '../api/types';
import { Button } from '../environments/parts';
import type { RunLog } from './log';
import { logText } from './log';

/** How many lines are on the screen; a copy has them all. */
const MOST_SHOWN = 1_000;

export function Log({
  log,
  run,
  trans
}: {
  log: RunLog;
  run: Run;
  trans: TranslationBundle;
}): React.ReactElement {
  const [wanted, setWanted] = React.useState('');
  const [follows, setFollows] = React.useState(true);
  const [copied, setCopied] = React.useState(-1);
  const box = React.useRef<HTMLDivElement>(null);
  const { revision } = log;
  const found = React.useMemo(() => {
    const words = wanted.toLowerCase();
    return words ? log.lines.filter(({ text }) => text.toLowerCase().includes(words)) : log.lines;
  }, [log, revision, wanted]);
  React.useLayoutEffect(() => {
    if (follows && box.current) {
      box.current.scrollTop = box.current.scrollHeight;
    }
  }, [found, follows]);
  const shown = found.slice(-MOST_SHOWN);
  return (
    <div className="jp-ElementRun-log">
      <div className="jp-ElementActions">
        <input
          type="search"
          className="jp-ElementFilter jp-mod-styled"
          aria-label={trans.__('Search the log')}
          placeholder={trans.__('Search')}
          value={wanted}
          onChange={event => setWanted(event.target.value)}
        />
        <label>
          <input
            type="checkbox"
            checked={follows}
            onChange={event => setFollows(event.target.checked)}
          />
          {trans.__('Follow the end')}
        </label>
        <Button
          label={copied === revision ? trans.__('Copied') : trans.__('Copy')}
          onClick={() => {
            Clipboard.copyToSystem(textOf(log));
            setCopied(revision);
          }}
        />
        <Button
          label={trans.__('Download')}
          onClick={() => download(textOf(log), `${run.run_id}.log`)}
        />
      </div>
      <p role="status">
        {shown.length < found.length
          ? trans.__('The last %1 of %2 lines', shown.length, found.length)
          : trans._n('%1 line', '%1 lines', found.length)}
      </p>
      <div ref={box} role="log" aria-live="off" aria-label={trans.__('Log')} tabIndex={0}>
        {shown.map((line, at) => (
          <div key={at} data-kind={line.kind}>
            <time dateTime={line.at}>{new Date(line.at).toLocaleTimeString()}</time>
            <span>{line.text}</span>
          </div>
        ))}
      </div>
    </div>
  );
}

function textOf(log: RunLog): string {
  return log.lines.map(line => `${logText(line)}\n`).join('');
}

function download(text: string, name: string): void {
  const url = URL.createObjectURL(new Blob([text], { type: 'text/plain' }));
  const link = document.createElement('a');
  link.href = url;
  link.download = name;
  link.click();
  URL.revokeObjectURL(url);
}
