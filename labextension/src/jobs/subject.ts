/**
 * Which notebook a command is about.
 */
import type { JupyterFrontEnd } from '@jupyterlab/application';
import type { IDefaultFileBrowser } from '@jupyterlab/filebrowser';
import type { INotebookTracker } from '@jupyterlab/notebook';

/** What a command may say of its notebook. */
export interface ISubjectArgs {
  readonly path?: unknown;
  readonly from?: unknown;
}

export class Subject {
  constructor(
    private readonly _notebooks: INotebookTracker,
    private readonly _files: IDefaultFileBrowser | null,
    contextMenu: JupyterFrontEnd['contextMenu']
  ) {
    // the file browser selects what has been opened as soon as it knows it, open menu or not
    _files?.node.addEventListener('contextmenu', () => {
      this._clicked = { path: this._selected };
    });
    contextMenu.menu.aboutToClose.connect(() => {
      // what was chosen is executed after the menu has closed
      setTimeout(() => {
        this._clicked = null;
      });
    });
  }

  /** The path of the notebook that is named, was right-clicked, or is in front; or null. */
  of({ path, from }: ISubjectArgs): string | null {
    if (typeof path === 'string') {
      return path;
    }
    if (from === 'filebrowser') {
      return this._clicked ? this._clicked.path : this._selected;
    }
    return this._notebooks.currentWidget?.context.path ?? null;
  }

  private get _selected(): string | null {
    const [item] = this._files?.selectedItems() ?? [];
    return item?.type === 'notebook' ? item.path : null;
  }

  private _clicked: { path: string | null } | null = null;
}
