/**
 * The list of the environments that the server keeps.
 */
import { Clipboard, Dialog, showDialog } from '@jupyterlab/apputils';
import type { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import type { EnvironmentSummary } from '../api/types';
import type { IElementClient } from '../tokens';
import { isCopied, NewView, type Start } from './newView';
import type { OpenNotebook } from './notebook';
import { Ago, Button, sizeOf, Trouble, Waiting } from './parts';
import type { StoreModel } from './store';

interface IProps {
  client: IElementClient;
  /** The notebook in front, when its environment is known. */
  notebook: OpenNotebook | null;
  store: StoreModel;
  /** The environment of the notebook in front. */
  current: string | null;
  /** Called when one was taken away. */
  removed: () => void;
  trans: TranslationBundle;
}

export function StoreView(props: IProps): React.ReactElement {
  const { client, notebook, store, trans } = props;
  const { state } = store;
  const [start, setStart] = React.useState<Start | null>(null);
  const opener = React.useRef<Element | null>(null);
  const begin = (from: Start) => {
    opener.current = document.activeElement;
    setStart(from);
  };
  const done = () => {
    setStart(null);
    requestAnimationFrame(() => {
      const back = opener.current?.isConnected ? opener.current : document.getElementById(NEW);
      (back as HTMLElement | null)?.focus();
    });
  };
  return (
    <section className="jp-ElementSection" aria-labelledby="jp-element-store">
      <h2 id="jp-element-store">{trans.__('All environments')}</h2>
      {notebook && start !== null && state.kind === 'ready' ? (
        <NewView
          key={start}
          client={client}
          notebook={notebook}
          items={state.list.items}
          start={start}
          done={done}
          trans={trans}
        />
      ) : notebook ? (
        <Button
          id={NEW}
          label={trans.__('New…')}
          title={trans.__('Make an environment for this notebook')}
          onClick={() => begin('')}
        />
      ) : null}
      <Content {...props} duplicate={notebook && begin} />
    </section>
  );
}

/** The button's id, which gets the focus back. */
const NEW = 'jp-element-new';

function Content({
  store,
  current,
  removed,
  duplicate,
  trans
}: IProps & { duplicate: ((id: string) => void) | null }): React.ReactElement {
  const { state } = store;
  const again = () => void store.refresh();
  switch (state.kind) {
    case 'loading':
      return <Waiting text={trans.__('Looking at what is kept…')} />;
    case 'failed':
      return (
        <Trouble
          title={trans.__('The environments could not be listed.')}
          problem={state.problem}
          again={again}
          trans={trans}
        />
      );
    case 'ready': {
      const items = [...state.list.items].sort(
        (a, b) =>
          Number(b.environment_id === current) - Number(a.environment_id === current) ||
          usedAt(b).localeCompare(usedAt(a))
      );
      return (
        <>
          {state.stale ? (
            <Trouble
              title={trans.__('This list may be old.')}
              problem={state.stale}
              again={again}
              trans={trans}
            />
          ) : null}
          {items.length === 0 ? (
            <p>
              {trans.__(
                'Nothing is kept yet. The first notebook that starts its kernel has its environment built.'
              )}
            </p>
          ) : (
            <ul className="jp-ElementStore">
              {items.map(item => (
                <Item
                  key={item.environment_id}
                  store={store}
                  item={item}
                  current={item.environment_id === current}
                  removed={removed}
                  duplicate={duplicate}
                  trans={trans}
                />
              ))}
            </ul>
          )}
          <p className="jp-ElementAside">
            {trans.__('Updated:')} <Ago at={state.updatedAt} trans={trans} />{' '}
            <Button label={trans.__('Refresh')} onClick={again} />
          </p>
        </>
      );
    }
  }
}

function usedAt(item: EnvironmentSummary): string {
  return item.last_used_at ?? item.built_at;
}

function Item({
  store,
  item,
  current,
  removed,
  duplicate,
  trans
}: {
  store: StoreModel;
  item: EnvironmentSummary;
  current: boolean;
  removed: () => void;
  duplicate: ((id: string) => void) | null;
  trans: TranslationBundle;
}): React.ReactElement {
  const { names, definition, holders, jobs, last_used_at } = item;
  const users = new Set([
    ...holders.map(({ kind, what, id }) => {
      const name = what.split('/').slice(-2).join('/') || id;
      return kind === 'run' ? trans.__('run of %1', name) : trans.__('kernel of %1', name);
    }),
    ...jobs.map(job => trans.__('job %1', job))
  ]);
  return (
    <li title={item.environment_id}>
      <div className="jp-ElementStore-name">
        {names.length > 0 ? names.join(', ') : definition}
        {names.length > 0 ? <em> {trans.__('shared')}</em> : null}
        {current ? <em> {trans.__('this notebook')}</em> : null}
      </div>
      {names.length > 0 && !names.includes(definition) ? <div>{definition}</div> : null}
      <div>
        {trans._n('Python %2, %1 package', 'Python %2, %1 packages', item.packages, item.python)}
      </div>
      <div>
        {trans.__(
          '%1 of its own, %2 shared with others',
          sizeOf(item.own_bytes),
          sizeOf(item.shared_bytes)
        )}
      </div>
      <div>
        {last_used_at ? trans.__('Last used:') : trans.__('Built:')}{' '}
        <Ago at={usedAt(item)} trans={trans} />
      </div>
      <div title={holders.map(({ what }) => what).join('\n')}>
        {users.size > 0
          ? trans.__('Used by: %1', [...users].join(', '))
          : trans.__('Not used right now')}
      </div>
      <ItemActions
        store={store}
        item={item}
        used={users.size > 0}
        removed={removed}
        duplicate={duplicate}
        trans={trans}
      />
    </li>
  );
}

function ItemActions({
  store,
  item,
  used,
  removed,
  duplicate,
  trans
}: {
  store: StoreModel;
  item: EnvironmentSummary;
  used: boolean;
  removed: () => void;
  duplicate: ((id: string) => void) | null;
  trans: TranslationBundle;
}): React.ReactElement {
  const { environment_id: id, definition, own_bytes } = item;
  const [copied, setCopied] = React.useState(false);
  const copyLock = async () => {
    const lock = await store.lockOf(id);
    if (lock !== null) {
      Clipboard.copyToSystem(lock);
      setCopied(true);
    }
  };
  const remove = async () => {
    const { button } = await showDialog({
      title: trans.__('Delete the environment of %1?', definition),
      body: trans.__(
        '%1 are freed. It is built again when a notebook asks for it.',
        sizeOf(own_bytes)
      ),
      buttons: [Dialog.cancelButton(), Dialog.warnButton({ label: trans.__('Delete environment') })]
    });
    if (button.accept) {
      await store.remove(id);
      removed();
    }
  };
  return (
    <>
      <div className="jp-ElementActions">
        <Button
          label={copied ? trans.__('Copied') : trans.__('Copy lock')}
          title={trans.__('Copy all packages with their versions and hashes')}
          busy={store.busy === id}
          onClick={() => void copyLock()}
        />
        {duplicate && isCopied(id) ? (
          <Button
            label={trans.__('Duplicate…')}
            title={trans.__('Make another one that starts with its packages')}
            onClick={() => duplicate(id)}
          />
        ) : null}
        {used || item.names.length > 0 ? null : (
          <Button
            label={trans.__('Delete…')}
            busy={store.busy === id}
            onClick={() => void remove()}
          />
        )}
      </div>
      {store.refusal?.id === id ? <Trouble problem={store.refusal.problem} trans={trans} /> : null}
    </>
  );
}
