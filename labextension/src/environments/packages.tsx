/**
 * What is in an environment, asked for when a person wants to see it.
 */
import type { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import { problemOf } from '../api/client';
import type { Problem } from '../api/types';
import type { IElementClient } from '../tokens';
import { Trouble, Waiting } from './parts';

interface IProps {
  client: IElementClient;
  environmentId: string;
  trans: TranslationBundle;
}

type Listed =
  | { kind: 'loading' }
  | { kind: 'failed'; problem: Problem }
  | { kind: 'ready'; packages: { name: string; version: string }[] };

export function Packages({ client, environmentId, trans }: IProps): React.ReactElement {
  const [open, setOpen] = React.useState(false);
  return (
    <details className="jp-ElementFolded" onToggle={event => setOpen(event.currentTarget.open)}>
      <summary>{trans.__('Packages')}</summary>
      {open ? (
        <List key={environmentId} client={client} environmentId={environmentId} trans={trans} />
      ) : null}
    </details>
  );
}

function List({ client, environmentId, trans }: IProps): React.ReactElement {
  const [listed, setListed] = React.useState<Listed>({ kind: 'loading' });
  const [tries, setTries] = React.useState(0);
  const [filter, setFilter] = React.useState('');
  React.useEffect(() => {
    let wanted = true;
    void client
      .call('get', '/environments/{environment_id}', { path: { environment_id: environmentId } })
      .then(
        ({ packages }): Listed => ({ kind: 'ready', packages }),
        (reason): Listed => ({ kind: 'failed', problem: problemOf(reason) })
      )
      .then(answer => wanted && setListed(answer));
    return () => void (wanted = false);
  }, [environmentId, tries]);

  switch (listed.kind) {
    case 'loading':
      return <Waiting text={trans.__('Listing the packages…')} />;
    case 'failed':
      return (
        <Trouble
          title={trans.__('The packages could not be listed.')}
          problem={listed.problem}
          again={() => setTries(tries + 1)}
          trans={trans}
        />
      );
    case 'ready': {
      const wanted = filter.trim().toLowerCase();
      const shown = listed.packages.filter(({ name }) => name.toLowerCase().includes(wanted));
      return (
        <>
          <input
            type="search"
            className="jp-ElementFilter jp-mod-styled"
            aria-label={trans.__('Filter the packages by name')}
            placeholder={trans.__('Filter')}
            value={filter}
            onChange={event => setFilter(event.target.value)}
          />
          <p role="status" className="jp-ElementAside">
            {trans._n('%1 package', '%1 packages', shown.length)}
          </p>
          <ul className="jp-ElementPackages">
            {shown.map(({ name, version }) => (
              <li key={name}>
                <span>{name}</span> <span>{version}</span>
              </li>
            ))}
          </ul>
        </>
      );
    }
  }
}
