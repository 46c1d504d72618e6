/**
 * The parameters that a notebook was given last, for the next time.
 */
import type { IStateDB } from '@jupyterlab/statedb';
import type { ReadonlyPartialJSONObject } from '@lumino/coreutils';

/** Keep the parameters that a notebook was given. */
export async function remember(
  state: IStateDB | null,
  path: string,
  values: Record<string, unknown>
): Promise<void> {
  await state?.save(keyOf(path), { values: values as ReadonlyPartialJSONObject });
}

/** The parameters that a notebook was given last; none when nothing sound is kept. */
export async function remembered(
  state: IStateDB | null,
  path: string
): Promise<Record<string, unknown>> {
  const kept: unknown = await state?.fetch(keyOf(path)).catch(() => undefined);
  const values = isRecord(kept) ? kept.values : undefined;
  return isRecord(values) ? values : {};
}

function keyOf(path: string): string {
  return `element-jobs:parameters:${path}`;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
