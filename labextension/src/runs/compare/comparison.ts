/**
 * What differs between two runs: their values, and their cells with what these gave.
 */
import { JSONExt } from '@lumino/coreutils';

import type { ICell } from '../cells';
import { valueText } from '../words';

/** Where something is: in both runs alike or not, or in one of them. */
export type Standing = 'same' | 'changed' | 'first' | 'second';

/** One named value in both runs; null where it is not given. */
export interface IValue {
  readonly name: string;
  readonly first: string | null;
  readonly second: string | null;
  readonly standing: Standing;
  /** By how much a number is larger in the second run. */
  readonly by: number | null;
  /** The same as a share of the first; null also where that is zero. */
  readonly share: number | null;
}

/** A cell of the first run beside the one of the second that it is; null where there is none. */
export interface IPair {
  readonly first: ICell | null;
  readonly second: ICell | null;
}

type Values = Readonly<Record<string, unknown>>;

/** All values by name, those that differ first; what is inside of an object has a name of its own. */
export function valuesOf(first: Values, second: Values): IValue[] {
  const [one, other] = [placesIn(first), placesIn(second)];
  const all = [...new Set([...one.keys(), ...other.keys()])].map(name =>
    valueOf(name, one.get(name), other.get(name))
  );
  const isSame = ({ standing }: IValue) => Number(standing === 'same');
  return all.sort((a, b) => isSame(a) - isSame(b));
}

/** One value in both runs; undefined where it is not given. */
export function valueOf(name: string, first: unknown, second: unknown): IValue {
  const areNumbers = typeof first === 'number' && typeof second === 'number';
  const by = areNumbers && first !== second ? second - first : null;
  return {
    name,
    first: first === undefined ? null : valueText(first),
    second: second === undefined ? null : valueText(second),
    standing:
      first === undefined
        ? 'second'
        : second === undefined
          ? 'first'
          : alike(first, second)
            ? 'same'
            : 'changed',
    by,
    share: by !== null && first !== 0 ? by / Math.abs(first as number) : null
  };
}

/** A time span in as much detail as it is told; what is less does not count as a difference. */
export function tenths(seconds: number | null): number | null {
  return seconds === null ? null : Math.floor(seconds * 10) / 10;
}

/** The cells of both, each once: by what identifies them, then by their sources. */
export function paired(first: readonly ICell[], second: readonly ICell[]): IPair[] {
  const partners = new Map<ICell, ICell>();
  const free = new Set(second);
  const pair = (keyOf: (cell: ICell) => string) => {
    const waiting = new Map<string, ICell[]>();
    for (const cell of free) {
      waiting.set(keyOf(cell), [...(waiting.get(keyOf(cell)) ?? []), cell]);
    }
    for (const cell of first) {
      const key = keyOf(cell);
      const partner = key && !partners.has(cell) ? waiting.get(key)?.shift() : undefined;
      if (partner) {
        partners.set(cell, partner);
        free.delete(partner);
      }
    }
  };
  pair(({ id }) => id);
  pair(({ type, source }) => (source?.trim() ? `${type} ${source}` : ''));
  const pairs: IPair[] = first.map(cell => ({ first: cell, second: partners.get(cell) ?? null }));
  for (const [at, cell] of second.entries()) {
    if (free.has(cell)) {
      // behind what is before it there
      const before = pairs.findIndex(each => each.second === second[at - 1]);
      pairs.splice(before + 1, 0, { first: null, second: cell });
    }
  }
  return pairs;
}

/** What of a cell differs. */
export function changesOf({ first, second }: IPair): {
  standing: Standing;
  source: boolean;
  outputs: boolean;
} {
  if (!first || !second) {
    return { standing: first ? 'first' : 'second', source: false, outputs: false };
  }
  const source = first.source !== second.source || first.type !== second.type;
  const outputs =
    first.state !== second.state ||
    first.outputs.length !== second.outputs.length ||
    first.outputs.some((output, at) => !alike(uncounted(output), uncounted(second.outputs[at])));
  return { standing: source || outputs ? 'changed' : 'same', source, outputs };
}

/** How many cells were executed before does not make an output another one. */
function uncounted(output: object): object {
  return { ...output, execution_count: null };
}

function alike(one: unknown, other: unknown): boolean {
  type Json = Parameters<typeof JSONExt.deepEqual>[0];
  return JSONExt.deepEqual(one as Json, other as Json);
}

function placesIn(values: Values, place = ''): Map<string, unknown> {
  return new Map(
    Object.entries(values).flatMap(([name, value]): [string, unknown][] =>
      typeof value === 'object' && value !== null && !Array.isArray(value)
        ? [...placesIn(value as Values, `${place}${name}.`)]
        : [[place + name, value]]
    )
  );
}
