/**
 * The files that a run left: to look at where they are small, and to download.
 */
import { URLExt } from '@jupyterlab/coreutils';
import type { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import type { Run } from '../api/types';
import { sizeOf, Waiting } from '../environments/parts';
import type { Artifact } from './events';

/** How many files are listed. */
const MOST_FILES = 500;

/** Texts up to this size are shown, and pictures up to the other, in bytes. */
const LARGEST_TEXT = 200_000;
const LARGEST_PICTURE = 10_000_000;

const PICTURE = /\.(?:png|jpe?g|gif|webp|bmp|svg)$/i;
const TEXT = /\.(?:txt|log|md|json|jsonl|ya?ml|toml|ini|csv|tsv|py|r|sql|html?|xml)$/i;

export function Files({
  run,
  address,
  trans
}: {
  run: Run;
  address: string;
  trans: TranslationBundle;
}): React.ReactElement {
  if (run.artifacts.length === 0) {
    return <p>{trans.__('Files that the notebook writes are kept here once it has ended.')}</p>;
  }
  return (
    <>
      <ul className="jp-ElementRun-files">
        {run.artifacts.slice(0, MOST_FILES).map(artifact => (
          <File key={artifact.path} artifact={artifact} address={address} trans={trans} />
        ))}
      </ul>
      {run.artifacts.length > MOST_FILES ? (
        <p>{trans.__('And %1 more.', run.artifacts.length - MOST_FILES)}</p>
      ) : null}
    </>
  );
}

function File({
  artifact: { path, size_bytes },
  address,
  trans
}: {
  artifact: Artifact;
  address: string;
  trans: TranslationBundle;
}): React.ReactElement {
  const [isOpen, setOpen] = React.useState(false);
  const url = URLExt.join(address, ...path.split('/').map(encodeURIComponent));
  const isPicture = PICTURE.test(path) && size_bytes <= LARGEST_PICTURE;
  const isText = TEXT.test(path) && size_bytes <= LARGEST_TEXT;
  return (
    <li>
      <span>{path}</span> <span className="jp-ElementAside">{sizeOf(size_bytes)}</span>{' '}
      <a href={url} download={path.replace(/^.*\//, '')}>
        {trans.__('Download')}
      </a>
      {isPicture || isText ? (
        <details onToggle={event => setOpen(event.currentTarget.open)}>
          <summary>{trans.__('Preview')}</summary>
          {/* a browser runs no script of a picture */}
          {isOpen && isPicture ? <img src={url} alt={path} /> : null}
          {isOpen && isText ? <Text url={url} path={path} trans={trans} /> : null}
        </details>
      ) : null}
    </li>
  );
}

function Text({
  url,
  path,
  trans
}: {
  url: string;
  path: string;
  trans: TranslationBundle;
}): React.ReactElement {
  const [text, setText] = React.useState<string | null>(null);
  const [failed, setFailed] = React.useState(false);
  React.useEffect(() => {
    const leaving = new AbortController();
    const read = async () => {
      const response = await fetch(url, { signal: leaving.signal, credentials: 'same-origin' });
      if (!response.ok) {
        throw new Error(response.statusText);
      }
      setText(await response.text());
    };
    read().catch(() => setFailed(!leaving.signal.aborted));
    return () => leaving.abort();
  }, [url]);
  if (failed) {
    return <p role="alert">{trans.__('The file could not be read.')}</p>;
  }
  if (text === null) {
    return <Waiting text={trans.__('Reading %1…', path)} />;
  }
  const separator = /\.tsv$/i.test(path) ? '\t' : /\.csv$/i.test(path) ? ',' : null;
  return separator ? (
    <Rows rows={rowsOf(text, separator)} path={path} />
  ) : (
    <pre tabIndex={0}>{/\.json$/i.test(path) ? indented(text) : text}</pre>
  );
}

function Rows({ rows, path }: { rows: string[][]; path: string }): React.ReactElement {
  const [head = [], ...body] = rows;
  return (
    <div className="jp-ElementRun-rows" tabIndex={0}>
      <table className="jp-ElementRun-table">
        <caption>{path}</caption>
        <thead>
          <tr>
            {head.map((name, at) => (
              <th key={at} scope="col">
                {name}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {body.map((row, at) => (
            <tr key={at}>
              {row.map((value, column) => (
                <td key={column}>{value}</td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

/** How many rows of a table are shown. */
const MOST_ROWS = 100;

/** The first rows of a table as RFC 4180 has it. */
export function rowsOf(text: string, separator: string): string[][] {
  const rows: string[][] = [];
  let row: string[] = [];
  let value = '';
  let quoted = false;
  for (let at = 0; at < text.length && rows.length <= MOST_ROWS; at += 1) {
    const sign = text[at];
    if (quoted) {
      if (sign !== '"') {
        value += sign;
      } else if (text[at + 1] === '"') {
        value += '"';
        at += 1;
      } else {
        quoted = false;
      }
    } else if (sign === '"' && value === '') {
      quoted = true;
    } else if (sign === separator) {
      row.push(value);
      value = '';
    } else if (sign === '\n') {
      rows.push([...row, value.replace(/\r$/, '')]);
      row = [];
      value = '';
    } else {
      value += sign;
    }
  }
  if (value || row.length) {
    rows.push([...row, value]);
  }
  return rows.slice(0, MOST_ROWS + 1);
}

function indented(text: string): string {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}
