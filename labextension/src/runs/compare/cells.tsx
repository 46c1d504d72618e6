/**
 * The cells of two runs beside each other; those that are alike are folded away.
 */
import type { IRenderMimeRegistry } from '@jupyterlab/rendermime';
import type { TranslationBundle } from '@jupyterlab/translation';
import { Widget } from '@lumino/widgets';
import * as React from 'react';

import { diffLines, hunksOf } from '../../diff/lines';
import { Diff } from '../../diff/view';
import { Button } from '../../environments/parts';
import { CellOutputs } from '../cellOutputs';
import type { ICell } from '../cells';
import { heightOf } from '../height';
import { lasted } from '../words';
import type { IPair } from './comparison';
import { changesOf, tenths, valueOf } from './comparison';
import { Difference, SIGNS } from './values';

interface IShared {
  rendermime: IRenderMimeRegistry;
  trans: TranslationBundle;
}

/** How many cells that differ, and groups of cells that do not, are shown at first. */
const MOST = 100;

/** How far around what is on the screen outputs are drawn. */
const AROUND = '600px 0px';

export function Cells({ pairs, ...shared }: IShared & { pairs: readonly IPair[] }) {
  const { trans } = shared;
  const [most, setMost] = React.useState(MOST);
  const groups = React.useMemo(() => groupsOf(pairs), [pairs]);
  return (
    <>
      {groups.slice(0, most).map(group => {
        const key = pairs.indexOf(group[0]);
        return changesOf(group[0]).standing === 'same' ? (
          <Alike key={key} pairs={group} {...shared} />
        ) : (
          <Pair key={key} pair={group[0]} {...shared} />
        );
      })}
      {groups.length > most ? (
        <Button label={trans.__('Show more cells')} onClick={() => setMost(most + MOST)} />
      ) : null}
    </>
  );
}

/** Each cell that differs for itself, and together those between that do not. */
function groupsOf(pairs: readonly IPair[]): IPair[][] {
  const groups: IPair[][] = [];
  let areSame = false;
  for (const pair of pairs) {
    const isSame = changesOf(pair).standing === 'same';
    if (isSame && areSame) {
      groups[groups.length - 1].push(pair);
    } else {
      groups.push([pair]);
    }
    areSame = isSame;
  }
  return groups;
}

function Alike({ pairs, ...shared }: IShared & { pairs: readonly IPair[] }) {
  const { trans } = shared;
  const [isOpen, setOpen] = React.useState(false);
  const [most, setMost] = React.useState(MOST);
  return (
    <details className="jp-ElementPair" onToggle={event => setOpen(event.currentTarget.open)}>
      <summary>
        <span aria-hidden="true">{SIGNS.same} </span>
        {trans._n('%1 cell is the same', '%1 cells are the same', pairs.length)}{' '}
        <Durations
          first={sum(pairs.map(({ first }) => first))}
          second={sum(pairs.map(({ second }) => second))}
          trans={trans}
        />
      </summary>
      {isOpen ? (
        <>
          {pairs.slice(0, most).map((pair, at) => (
            <Pair key={at} pair={pair} {...shared} />
          ))}
          {pairs.length > most ? (
            <Button label={trans.__('Show more cells')} onClick={() => setMost(most + MOST)} />
          ) : null}
        </>
      ) : null}
    </details>
  );
}

function Pair({ pair, ...shared }: IShared & { pair: IPair }): React.ReactElement | null {
  const { trans } = shared;
  const { first, second } = pair;
  const { standing, source, outputs } = changesOf(pair);
  const one = second ?? first;
  if (one === null) {
    return null;
  }
  const number = [first, second]
    .flatMap(cell => (cell ? [cell.index + 1] : []))
    .filter((each, at, all) => all.indexOf(each) === at)
    .join(' / ');
  const name = trans.__('Cell %1', number);
  const word = {
    same: trans.__('the same'),
    changed: !source
      ? trans.__('outputs differ')
      : outputs
        ? trans.__('code and outputs differ')
        : trans.__('code differs'),
    first: trans.__('only in A'),
    second: trans.__('only in B')
  }[standing];
  const area = (cell: ICell, label: string) =>
    cell.outputs.length || outputs ? (
      <div role="group" aria-label={trans.__('Outputs of %1', label)}>
        <strong>{label}</strong>
        {cell.outputs.length ? (
          <Outputs cell={cell} {...shared} />
        ) : (
          <p className="jp-ElementAside">{trans.__('No output.')}</p>
        )}
      </div>
    ) : null;
  return (
    <section className="jp-ElementPair" data-standing={standing} aria-label={name}>
      <h3>
        {name}{' '}
        <span>
          <span aria-hidden="true">{SIGNS[standing]} </span>
          {word}
        </span>{' '}
        <Durations first={first?.seconds ?? null} second={second?.seconds ?? null} trans={trans} />
      </h3>
      {source && first && second ? (
        <Diff
          lines={hunksOf(diffLines(linesOf(first), linesOf(second)))}
          label={trans.__('Changes of the code')}
        />
      ) : (
        <pre tabIndex={0}>{one.source}</pre>
      )}
      <div className="jp-ElementPair-outputs">
        {standing === 'same' ? (
          area(one, trans.__('A and B'))
        ) : (
          <>
            {first ? area(first, 'A') : null}
            {second ? area(second, 'B') : null}
          </>
        )}
      </div>
    </section>
  );
}

/** How long something has taken in both runs, and how much longer in the second. */
function Durations({
  first,
  second,
  trans
}: {
  first: number | null;
  second: number | null;
  trans: TranslationBundle;
}): React.ReactElement {
  const said = (seconds: number | null) => (seconds === null ? '–' : lasted(seconds, trans));
  const value = valueOf('', tenths(first), tenths(second));
  return (
    <span className="jp-ElementAside">
      {trans.__('A %1, B %2', said(first), said(second))}{' '}
      {value.by === null ? null : <Difference value={value} unit="s" trans={trans} />}
    </span>
  );
}

/** Outputs that are drawn when they come near the screen, one in each frame. */
function Outputs({ cell, rendermime, trans }: IShared & { cell: ICell }): React.ReactElement {
  const place = React.useRef<HTMLDivElement>(null);
  React.useLayoutEffect(() => {
    const node = place.current;
    if (!node) {
      return;
    }
    const outputs = new CellOutputs({ rendermime, trans });
    Widget.attach(outputs, node);
    let frame = 0;
    const draw = () => {
      if (outputs.draw(cell.outputs, false, 1)) {
        frame = requestAnimationFrame(draw);
      } else {
        node.style.minHeight = '';
      }
    };
    const near = new IntersectionObserver(
      entries => {
        if (entries.some(({ isIntersecting }) => isIntersecting)) {
          near.disconnect();
          draw();
        }
      },
      { root: node.closest('.jp-ElementCompare'), rootMargin: AROUND }
    );
    near.observe(node);
    return () => {
      near.disconnect();
      cancelAnimationFrame(frame);
      outputs.dispose();
    };
  }, [cell]);
  return <div ref={place} style={{ minHeight: heightOf({ ...cell, source: '' }) }} />;
}

function linesOf({ source }: ICell): string[] {
  return (source ?? '').split('\n');
}

function sum(cells: readonly (ICell | null)[]): number | null {
  const known = cells.flatMap(cell => (cell?.seconds ? [cell.seconds] : []));
  return known.length ? known.reduce((one, other) => one + other, 0) : null;
}
