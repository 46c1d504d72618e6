/**
 * What differs between two texts, as people read it.
 */
import * as React from 'react';

import type { ILine } from './lines';

/** The lines that differ with those around them; null where others are left out. */
export function Diff({
  lines,
  label
}: {
  lines: readonly (ILine | null)[];
  label: string;
}): React.ReactElement {
  return (
    <pre className="jp-ElementDiff" tabIndex={0} aria-label={label}>
      {lines.map((line, number) => (
        <span key={number} data-mark={line?.mark}>
          {line === null ? '…' : `${line.mark} ${line.text}`}
          {'\n'}
        </span>
      ))}
    </pre>
  );
}
