/**
 * Values of two runs in columns, with what differs.
 */
import type { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import { Cell, Table } from '../../jobs/list/parts';
import type { IValue, Standing } from './comparison';

/** The sign that goes with the word for how something stands. */
export const SIGNS: Readonly<Record<Standing, string>> = {
  same: '=',
  changed: '≠',
  first: '−',
  second: '+'
};

/** A value, and what to show in place of its texts. */
export interface IRow {
  readonly value: IValue;
  readonly first?: React.ReactNode;
  readonly second?: React.ReactNode;
  readonly unit?: 's';
  /** Whether it says nothing that this differs. */
  readonly isBare?: boolean;
}

export function Values({
  caption,
  name,
  rows,
  trans
}: {
  caption: string;
  /** What the first column has. */
  name: string;
  rows: readonly IRow[];
  trans: TranslationBundle;
}): React.ReactElement {
  const missing = <span className="jp-ElementAside">{trans.__('not given')}</span>;
  return (
    <Table caption={caption} columns={[name, 'A', 'B', trans.__('Difference')]}>
      {rows.map(({ value, first, second, unit, isBare }) => (
        <tr key={value.name} role="row" data-standing={value.standing}>
          <Cell column={name} className="jp-ElementTable-name">
            <strong>{value.name}</strong>
          </Cell>
          <Cell column="A" className="jp-ElementTable-place">
            {first ?? (value.first === null ? missing : <code>{value.first}</code>)}
          </Cell>
          <Cell column="B" className="jp-ElementTable-place">
            {second ?? (value.second === null ? missing : <code>{value.second}</code>)}
          </Cell>
          <Cell column={trans.__('Difference')}>
            {isBare ? null : <Difference value={value} unit={unit} trans={trans} />}
          </Cell>
        </tr>
      ))}
    </Table>
  );
}

/** How a value stands, as a sign and a word; of a number, by how much. */
export function Difference({
  value: { standing, by, share },
  unit,
  trans
}: {
  value: IValue;
  unit?: 's';
  trans: TranslationBundle;
}): React.ReactElement {
  const word = {
    same: trans.__('the same'),
    changed: by === null ? trans.__('changed') : `${amount(by)}${unit ? ` ${unit}` : ''}`,
    first: trans.__('only in A'),
    second: trans.__('only in B')
  }[standing];
  return (
    <>
      <span aria-hidden="true">{SIGNS[standing]} </span>
      {share === null ? word : trans.__('%1 (%2)', word, amount(share, 'percent'))}
    </>
  );
}

function amount(number: number, style: 'decimal' | 'percent' = 'decimal'): string {
  return new Intl.NumberFormat(undefined, {
    style,
    signDisplay: 'always',
    maximumSignificantDigits: 3
  }).format(number);
}
