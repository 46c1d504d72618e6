/**
 * What differs between the files of two snapshots.
 */
import type { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import type { components } from '../../api/schema';
import { diffLines, hunksOf } from '../../diff/lines';
import { Diff } from '../../diff/view';
import { Trouble, Waiting } from '../../environments/parts';
import type { IElementClient } from '../../tokens';
import { useAnswer } from './answer';
import type { IFileChange } from './changes';
import { filesBetween } from './changes';

type Cell = components['schemas']['NotebookCell'];

interface IProps {
  /** The snapshots. */
  before: string;
  after: string;
  client: IElementClient;
  trans: TranslationBundle;
}

/** The files that two snapshots do not share; of a notebook, what is in it. */
export function FilesView({ before, after, client, trans }: IProps): React.ReactElement {
  const [asked, again] = useAnswer(async () => {
    const [old, young] = await Promise.all(
      [before, after].map(snapshot_id =>
        client.call('get', '/snapshots/{snapshot_id}', { path: { snapshot_id } })
      )
    );
    return filesBetween(old, young);
  });
  switch (asked.kind) {
    case 'loading':
      return <Waiting text={trans.__('Comparing the files…')} />;
    case 'failed':
      return (
        <Trouble
          title={trans.__('The files could not be compared.')}
          problem={asked.problem}
          again={again}
          trans={trans}
        />
      );
    case 'ready':
      return (
        <ul className="jp-ElementFiles" aria-label={trans.__('Files')}>
          {asked.answer.map(file => (
            <li key={file.path}>
              {file.what === 'changed' && file.path.endsWith('.ipynb') ? (
                <Notebook path={file.path} {...{ before, after, client, trans }} />
              ) : (
                fileWord(file, trans)
              )}
            </li>
          ))}
        </ul>
      );
  }
}

function fileWord({ path, what }: IFileChange, trans: TranslationBundle): string {
  switch (what) {
    case 'added':
      return trans.__('%1 was added', path);
    case 'removed':
      return trans.__('%1 was removed', path);
    case 'changed':
      return trans.__('%1 was changed', path);
  }
}

/** A notebook that changed, and what in it when that is wanted. */
function Notebook({ path, ...props }: IProps & { path: string }): React.ReactElement {
  const [opened, open] = React.useState(false);
  return (
    <details open={opened} onToggle={event => open(event.currentTarget.open)}>
      <summary>{fileWord({ path, what: 'changed' }, props.trans)}</summary>
      {opened ? <NotebookDiff path={path} {...props} /> : null}
    </details>
  );
}

function NotebookDiff({
  path,
  before,
  after,
  client,
  trans
}: IProps & { path: string }): React.ReactElement {
  const [asked, again] = useAnswer(async () => {
    const [old, young] = await Promise.all(
      [before, after].map(snapshot_id =>
        client.call('get', '/snapshots/{snapshot_id}/notebooks/{path}', {
          path: { snapshot_id, path }
        })
      )
    );
    return hunksOf(diffLines(linesOf(old.cells), linesOf(young.cells)));
  });
  switch (asked.kind) {
    case 'loading':
      return <Waiting text={trans.__('Comparing the cells…')} />;
    case 'failed':
      return (
        <Trouble
          title={trans.__('The notebooks could not be compared.')}
          problem={asked.problem}
          again={again}
          trans={trans}
        />
      );
    case 'ready':
      return asked.answer.length === 0 ? (
        <p>{trans.__('The cells are the same; outputs or metadata differ.')}</p>
      ) : (
        <Diff lines={asked.answer} label={trans.__('Changes in %1', path)} />
      );
  }
}

/** The cells as one text, in the form that scripts have them. */
function linesOf(cells: readonly Cell[]): string[] {
  return cells.flatMap(({ kind, source }) => [
    kind === 'code' ? '# %%' : `# %% [${kind}]`,
    ...source.split('\n')
  ]);
}
