/**
 * What is left of what a person may use.
 */
import type { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import { useAnswer } from '../jobs/list/answer';
import { ahead } from '../jobs/list/words';
import type { IElementClient } from '../tokens';

/** All limits that count for them, with how much of each is used; nothing where there are none. */
export function QuotaView({
  client,
  trans
}: {
  client: IElementClient;
  trans: TranslationBundle;
}): React.ReactElement | null {
  const [asked] = useAnswer(() => client.call('get', '/quota'));
  if (asked.kind !== 'ready' || asked.answer.limits.length === 0) {
    return null;
  }
  return (
    <details open className="jp-ElementSection">
      <summary>
        <h2>{trans.__('My quota')}</h2>
      </summary>
      <ul className="jp-ElementQuota">
        {asked.answer.limits.map(({ sentence, used, limit, frees_at }, number) => (
          <li key={number}>
            {sentence}
            {used === null ? null : (
              <progress aria-label={sentence} max={limit || 1} value={Math.min(used, limit)} />
            )}
            {frees_at ? (
              <span className="jp-ElementAside">
                {trans.__('There is room again %1.', ahead(frees_at, Date.now()))}
              </span>
            ) : null}
          </li>
        ))}
      </ul>
    </details>
  );
}
