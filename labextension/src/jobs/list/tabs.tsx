/**
 * Tabs, as the keyboard and those who listen expect them.
 */
import * as React from 'react';

import { Keep } from '../../environments/parts';

/** One of the tabs, and what it shows. */
export interface ITab<Id extends string> {
  readonly id: Id;
  readonly label: string;
}

/** Tabs in a row: arrows, Home and End turn to another, Tab goes on into what is shown. */
export function Tabs<Id extends string>({
  label,
  tabs,
  current,
  onTurn,
  children
}: {
  label: string;
  tabs: readonly ITab<Id>[];
  current: Id;
  onTurn: (id: Id) => void;
  children: React.ReactNode;
}): React.ReactElement {
  const base = React.useId();
  const list = React.useRef<HTMLDivElement>(null);
  const turn = (event: React.KeyboardEvent) => {
    const at = tabs.findIndex(({ id }) => id === current);
    const to = placeAfter(event.key, at, tabs.length);
    if (to !== null) {
      event.preventDefault();
      onTurn(tabs[to].id);
      list.current?.querySelectorAll<HTMLElement>('[role=tab]')[to].focus();
    }
  };
  return (
    <>
      <div className="jp-ElementTabs" role="tablist" aria-label={label} ref={list} onKeyDown={turn}>
        {tabs.map(tab => (
          <button
            key={tab.id}
            id={`${base}-${tab.id}`}
            type="button"
            role="tab"
            aria-selected={tab.id === current}
            aria-controls={`${base}-shown`}
            tabIndex={tab.id === current ? 0 : -1}
            onClick={() => onTurn(tab.id)}
          >
            {tab.label}
          </button>
        ))}
      </div>
      <Keep
        id={`${base}-shown`}
        className="jp-ElementTabs-shown"
        role="tabpanel"
        aria-labelledby={`${base}-${current}`}
      >
        {children}
      </Keep>
    </>
  );
}

/** Where a key leads among so many; null when it leads nowhere. */
function placeAfter(key: string, at: number, count: number): number | null {
  switch (key) {
    case 'ArrowRight':
      return (at + 1) % count;
    case 'ArrowLeft':
      return (at + count - 1) % count;
    case 'Home':
      return 0;
    case 'End':
      return count - 1;
    default:
      return null;
  }
}
