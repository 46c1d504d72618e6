/**
 * What differs between two versions of a job, as people read it.
 */
import type { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import type { IElementClient } from '../../tokens';
import { changesBetween } from './changes';
import { FilesView } from './filesView';
import type { StoredJob } from './words';

/** What its definition says otherwise, and the files that are not the same. */
export function ChangesView({
  before,
  after,
  client,
  trans
}: {
  before: StoredJob;
  after: StoredJob;
  client: IElementClient;
  trans: TranslationBundle;
}): React.ReactElement {
  const changes = changesBetween(before, after);
  const [old, young] = [before.job.snapshot_id, after.job.snapshot_id];
  return (
    <>
      {changes.length > 0 ? (
        <dl className="jp-ElementChanges" aria-label={trans.__('Changes')}>
          {changes.map(({ place, before, after }) => (
            <React.Fragment key={place}>
              <dt>{place}</dt>
              {before !== null ? (
                <dd>
                  <span className="jp-ElementUnseen">{trans.__('Before:')}</span>
                  <del>{before}</del>
                </dd>
              ) : null}
              {after !== null ? (
                <dd>
                  <span className="jp-ElementUnseen">{trans.__('After:')}</span>
                  <ins>{after}</ins>
                </dd>
              ) : null}
            </React.Fragment>
          ))}
        </dl>
      ) : null}
      {old === young ? null : (
        <FilesView before={old} after={young} client={client} trans={trans} />
      )}
    </>
  );
}
