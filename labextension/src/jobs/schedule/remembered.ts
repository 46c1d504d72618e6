/**
 * What a notebook was given last.
 */
import type { IStateDB } from '@jupyterlab/statedb';
import type { ReadonlyPartialJSONObject } from '@lumino/coreutils';

/** What a notebook was given last: parameters, and the names of a size and a team. */
export interface IGiven {
  readonly values: Record<string, unknown>;
  readonly size?: string;
  readonly team?: string;
}

/** Keep what a notebook was given. */
export async function remember(
  state: IStateDB | null,
  path: string,
  {
    parameters = {},
    size,
    team
  }: { parameters?: object; size?: string | null; team?: string | null }
): Promise<void> {
  const kept = { values: parameters, size, team } as ReadonlyPartialJSONObject;
  await state?.save(keyOf(path), kept);
}

/** What a notebook was given last, as far as something sound is kept. */
export async function remembered(state: IStateDB | null, path: string): Promise<IGiven> {
  const found: unknown = await state?.fetch(keyOf(path)).catch(() => undefined);
  const { values, size, team } = isRecord(found) ? found : {};
  return { values: isRecord(values) ? values : {}, size: nameIn(size), team: nameIn(team) };
}

function keyOf(path: string): string {
  return `element-jobs:parameters:${path}`;
}

function nameIn(value: unknown): string | undefined {
  return typeof value === 'string' && value ? value : undefined;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
