/**
 * A notebook as it is in the editor, without its outputs.
 */
import type { NotebookPanel } from '@jupyterlab/notebook';

import type { IKernel } from '../../environments/model';

/** The document to inspect; outputs may be many megabytes, and say nothing here. */
export function documentOf(panel: NotebookPanel): Record<string, unknown> {
  const { sharedModel, nbformat, nbformatMinor } = panel.context.model;
  return {
    nbformat,
    nbformat_minor: nbformatMinor,
    metadata: sharedModel.getMetadata(),
    cells: sharedModel.cells.map(cell => ({
      id: cell.id,
      cell_type: cell.cell_type,
      source: cell.getSource(),
      metadata: cell.getMetadata(),
      ...('execution_count' in cell && { execution_count: cell.execution_count, outputs: [] })
    }))
  };
}

/** The kernel that the notebook has; null when that is not known. */
export function kernelOf(panel: NotebookPanel | null): IKernel | null {
  if (panel === null) {
    return null;
  }
  const { session, kernelDisplayName, kernelPreference } = panel.sessionContext;
  const name = session?.kernel?.name ?? kernelPreference.name;
  return name ? { id: session?.kernel?.id ?? '', name, displayName: kernelDisplayName } : null;
}
