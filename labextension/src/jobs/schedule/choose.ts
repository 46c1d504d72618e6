/**
 * Which notebook to schedule, where none is open or selected.
 */
import type { IDefaultFileBrowser } from '@jupyterlab/filebrowser';
import { FileDialog } from '@jupyterlab/filebrowser';
import type { TranslationBundle } from '@jupyterlab/translation';

/** Ask for a notebook, first in one folder; null when none is wanted. */
export async function chosenNotebook(
  { model: { manager } }: IDefaultFileBrowser,
  folder: string,
  trans: TranslationBundle
): Promise<string | null> {
  for (let defaultPath = folder; ;) {
    const { button, value } = await FileDialog.getOpenFiles({
      manager,
      defaultPath,
      title: trans.__('Choose a notebook to schedule'),
      filter: ({ type }) => (type === 'notebook' || type === 'directory' ? {} : null)
    });
    const item = value?.[0];
    if (!button.accept || !item) {
      return null;
    }
    if (item.type === 'notebook') {
      return item.path;
    }
    defaultPath = item.path; // look into the folder that was chosen
  }
}
