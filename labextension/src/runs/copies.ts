/**
 * Copies of an executed notebook among the person's own files; nothing there is ever overwritten.
 */
import { PathExt } from '@jupyterlab/coreutils';
import type * as nbformat from '@jupyterlab/nbformat';
import type { NotebookPanel } from '@jupyterlab/notebook';
import type { Contents } from '@jupyterlab/services';
import type { PartialJSONObject } from '@lumino/coreutils';

import type { Run } from '../api/types';
import type { IServices } from '../jobs/services';

/** How many names are tried. */
const MOST_NAMES = 100;

/**
 * Open the executed notebook as a document, at a cell if one is given. What was opened before is
 * opened again.
 */
export async function openOutput(
  services: IServices,
  run: Run,
  document: nbformat.INotebookContent,
  cell?: number
): Promise<void> {
  const { contents } = services;
  const directory = await directoryOf(services, run);
  const stem = `${stemOf(run)}-output-${run.run_id.slice(-6)}`;
  const there = PathExt.join(directory, `${stem}.ipynb`);
  const names = await namesIn(contents, directory);
  const isThere = names.has(`${stem}.ipynb`) && (await isOutputOf(contents, there, run.run_id));
  const path = isThere
    ? there
    : await written(contents, directory, stem, withoutTrust(document), names);
  await open(services, path, cell);
}

/**
 * Make a notebook to find the mistake in, beside the original: the cells with the parameters of the
 * run, its environment, and what the cells gave, so that one sees where it went wrong.
 */
export async function openToDebug(
  services: IServices,
  run: Run,
  document: nbformat.INotebookContent
): Promise<void> {
  const directory = await directoryOf(services, run);
  const names = await namesIn(services.contents, directory);
  const stem = `${stemOf(run)}-debug`;
  const path = await written(services.contents, directory, stem, toDebug(document, run), names);
  await open(services, path, run.failing_cell?.index);
}

/** The notebook without what a run writes about itself, and with its environment. */
export function toDebug(document: nbformat.INotebookContent, run: Run): nbformat.INotebookContent {
  const clean = withoutTrust(document);
  const { element, ...metadata } = without(clean.metadata, 'papermill');
  const { environment } = (element ?? {}) as { environment?: unknown };
  const pointer = environment ?? pointerOf(run);
  return {
    ...clean,
    metadata: {
      ...metadata,
      ...(pointer === undefined ? {} : { element: { environment: pointer } })
    } as nbformat.INotebookMetadata,
    cells: clean.cells.map(cell => ({
      ...cell,
      metadata: without(cell.metadata, 'papermill', 'execution')
    }))
  };
}

/** What a run was told to take as its environment, as seen from its notebook. */
function pointerOf(run: Run): string | undefined {
  if (run.environment === null || run.environment === '') {
    return undefined;
  }
  const isPath = /[./]/.test(run.environment.replace(/\[.*$/, ''));
  const up = isPath ? '../'.repeat(run.notebook.split('/').length - 1) : '';
  return up + run.environment;
}

/** A cell that says it can be trusted would be, once this person saves it. */
function withoutTrust(document: nbformat.INotebookContent): nbformat.INotebookContent {
  return {
    ...document,
    cells: document.cells.map(cell => ({ ...cell, metadata: without(cell.metadata, 'trusted') }))
  };
}

function without(metadata: object, ...names: string[]): PartialJSONObject {
  const kept = Object.entries(metadata).filter(([name]) => !names.includes(name));
  return Object.fromEntries(kept) as PartialJSONObject;
}

function stemOf(run: Run): string {
  return PathExt.basename(run.notebook).replace(/\.ipynb$/, '');
}

/** Where the notebook of a run lies among the files here; their top when it is not here. */
async function directoryOf({ contents, notebooks }: IServices, run: Run): Promise<string> {
  const suffix = `/${run.notebook}`;
  const open = notebooks.find(panel => `/${panel.context.path}`.endsWith(suffix));
  if (open) {
    return PathExt.dirname(open.context.path);
  }
  const directory = PathExt.dirname(run.notebook);
  const names = await namesIn(contents, directory);
  return names.has(PathExt.basename(run.notebook)) ? directory : '';
}

async function namesIn(contents: Contents.IManager, directory: string): Promise<Set<string>> {
  try {
    const { content } = await contents.get(directory, { type: 'directory' });
    return new Set((content as Contents.IModel[]).map(({ name }) => name));
  } catch {
    return new Set();
  }
}

async function isOutputOf(
  contents: Contents.IManager,
  path: string,
  runId: string
): Promise<boolean> {
  const { content } = await contents.get(path, { type: 'notebook' });
  const { metadata } = content as nbformat.INotebookContent;
  return (metadata.element as { run_id?: unknown } | undefined)?.run_id === runId;
}

/** Write a notebook under the first name that is free; the path. */
async function written(
  contents: Contents.IManager,
  directory: string,
  stem: string,
  content: nbformat.INotebookContent,
  taken: ReadonlySet<string>
): Promise<string> {
  const untitled = await contents.newUntitled({ path: directory, type: 'notebook' });
  try {
    await contents.save(untitled.path, { type: 'notebook', format: 'json', content });
    for (let number = 0; number < MOST_NAMES; number += 1) {
      const name = number === 0 ? `${stem}.ipynb` : `${stem}-${number}.ipynb`;
      if (taken.has(name)) {
        continue;
      }
      try {
        // refused where somebody has taken the name since
        return (await contents.rename(untitled.path, PathExt.join(directory, name))).path;
      } catch (reason) {
        if (number === MOST_NAMES - 1) {
          throw reason;
        }
      }
    }
    return untitled.path;
  } catch (reason) {
    await contents.delete(untitled.path).catch(() => undefined);
    throw reason;
  }
}

async function open(services: IServices, path: string, cell?: number): Promise<void> {
  const panel: NotebookPanel | undefined = await services.commands.execute('docmanager:open', {
    path,
    factory: 'Notebook'
  });
  if (!panel || cell === undefined) {
    return;
  }
  await panel.context.ready;
  await panel.revealed;
  const notebook = panel.content;
  notebook.activeCellIndex = cell;
  const active = notebook.widgets[cell];
  if (active) {
    await notebook.scrollToCell(active, 'center');
  }
}
