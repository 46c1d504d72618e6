/**
 * What is remembered of a notebook: the parameters that it was given last, and the jobs made of it.
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

/** Keep where the notebook of a job lies; the job itself knows only its place in the project. */
export async function rememberNotebook(
  state: IStateDB | null,
  job: string,
  path: string
): Promise<void> {
  await state?.save(`element-jobs:notebook:${job}`, path);
}

/** Where the notebook of a job lay when it was saved from here. */
export async function notebookOf(state: IStateDB | null, job: string): Promise<string | null> {
  const kept = await state?.fetch(`element-jobs:notebook:${job}`).catch(() => undefined);
  return typeof kept === 'string' ? kept : null;
}

function keyOf(path: string): string {
  return `element-jobs:parameters:${path}`;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
