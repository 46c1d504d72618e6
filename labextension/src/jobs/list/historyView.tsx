/**
 * What a job was, and what became of its fires.
 */
import type { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import type { components } from '../../api/schema';
import { Ago, Trouble, Waiting } from '../../environments/parts';
import type { IElementClient } from '../../tokens';
import { useAnswer } from './answer';
import { changesBetween } from './changes';
import { ChangesView } from './changesView';
import type { StoredJob } from './words';
import { moment } from './words';

type FireRecord = components['schemas']['FireRecord'];

interface IProps {
  stored: StoredJob;
  client: IElementClient;
  trans: TranslationBundle;
}

interface IHistory {
  versions: StoredJob[];
  /** Whether there are older ones. */
  more: boolean;
  fires: FireRecord[];
}

const VERSIONS = 20;
const FIRES = 5;

export function HistoryView({ stored, client, trans }: IProps): React.ReactElement {
  const { team, name } = stored.job;
  const [asked, again] = useAnswer<IHistory>(async () => {
    const path = { team, name };
    const [versions, fires] = await Promise.all([
      client.call('get', '/jobs/{team}/{name}/versions', { path, query: { limit: VERSIONS } }),
      client.call('get', '/jobs/{team}/{name}/fires', { path, query: { limit: FIRES } })
    ]);
    return { versions: versions.items, more: versions.next_cursor !== null, fires: fires.items };
  });
  switch (asked.kind) {
    case 'loading':
      return <Waiting text={trans.__('Looking at the history…')} />;
    case 'failed':
      return (
        <Trouble
          title={trans.__('The history could not be read.')}
          problem={asked.problem}
          again={again}
          trans={trans}
        />
      );
    case 'ready': {
      const { versions, more, fires } = asked.answer;
      return (
        <div className="jp-ElementHistory">
          <h3>{trans.__('Versions')}</h3>
          <ol reversed start={versions[0]?.version}>
            {versions.map((version, place) => (
              <Version
                key={version.version}
                version={version}
                before={versions[place + 1] ?? null}
                first={!more && place === versions.length - 1}
                client={client}
                trans={trans}
              />
            ))}
          </ol>
          {fires.length > 0 ? (
            <>
              <h3>{trans.__('Times that have come due')}</h3>
              <ul>
                {fires.map(fire => (
                  <li key={fire.at}>
                    {trans.__('%1: %2', moment(fire.at), becameOf(fire.state, trans))} {fire.reason}
                  </li>
                ))}
              </ul>
            </>
          ) : null}
        </div>
      );
    }
  }
}

function Version({
  version,
  before,
  first,
  client,
  trans
}: {
  version: StoredJob;
  before: StoredJob | null;
  first: boolean;
  client: IElementClient;
  trans: TranslationBundle;
}): React.ReactElement {
  const [opened, open] = React.useState(false);
  const summary = (
    <>
      {trans.__('Version %1, saved by %2', version.version, version.saved_by)}{' '}
      <Ago at={version.saved_at} trans={trans} />
    </>
  );
  if (before === null) {
    return (
      <li>
        {summary} {first ? <em>{trans.__('the first')}</em> : null}
      </li>
    );
  }
  const changes = changesBetween(before, version);
  const files = before.job.snapshot_id !== version.job.snapshot_id;
  const places = changes.map(({ place }) => place);
  const what = [...places, ...(files ? [trans.__('files')] : [])].join(', ');
  return (
    <li>
      <details open={opened} onToggle={event => open(event.currentTarget.open)}>
        <summary>
          {summary}
          <div className="jp-ElementAside">
            {what ? trans.__('Changed: %1', what) : trans.__('Saved again as it was.')}
          </div>
        </summary>
        {opened ? (
          <ChangesView before={before} after={version} client={client} trans={trans} />
        ) : null}
      </details>
    </li>
  );
}

function becameOf(state: FireRecord['state'], trans: TranslationBundle): string {
  switch (state) {
    case 'due':
      return trans.__('due.');
    case 'ran':
      return trans.__('ran.');
    case 'skipped':
      return trans.__('skipped.');
    case 'missed':
      return trans.__('missed.');
  }
}
