/**
 * A notebook that is open, and its environment: what happens in one is told to the other.
 */
import type { ISessionContextDialogs } from '@jupyterlab/apputils';
import { Notification } from '@jupyterlab/apputils';
import { PathExt } from '@jupyterlab/coreutils';
import type { NotebookPanel } from '@jupyterlab/notebook';
import type { Contents, Kernel } from '@jupyterlab/services';
import type { TranslationBundle } from '@jupyterlab/translation';
import type { JSONObject } from '@lumino/coreutils';
import type { IDisposable } from '@lumino/disposable';
import { Debouncer } from '@lumino/polling';
import { Signal } from '@lumino/signaling';

import type { IElementClient } from '../tokens';
import { EnvironmentModel } from './model';

/** What the server and the window have in common for every notebook. */
export interface IServices {
  client: IElementClient;
  contents: Contents.IManager;
  dialogs: ISessionContextDialogs;
  /** Opens a file in an editor. */
  edit: (path: string) => void;
  trans: TranslationBundle;
}

/** Names of files that may count, or change what counts. */
const MAY_DEFINE = /(\.(txt|in|toml|ya?ml|lock|cfg|ipynb)|^\.python-version|^postBuild)$/;

/** How long after a change the server is asked, in milliseconds. */
const SETTLED = 400;

/** A notebook that comes to the front is asked about when what is known is as old as this. */
const OLD = 10_000;

/** How a kernel is when it has answered. */
const ANSWERING: ReadonlySet<Kernel.Status> = new Set(['idle', 'busy']);

export class OpenNotebook implements IDisposable {
  readonly model: EnvironmentModel;

  constructor(
    readonly panel: NotebookPanel,
    private readonly _services: IServices
  ) {
    this.model = new EnvironmentModel(_services.client, this.path);
    const { context, sessionContext } = panel;
    sessionContext.kernelChanged.connect(this._kernelChanged, this);
    sessionContext.statusChanged.connect(this._statusChanged, this);
    context.pathChanged.connect(this._pathChanged, this);
    _services.contents.fileChanged.connect(this._fileChanged, this);
    this.model.outdated.connect(this._outdated, this);
    panel.disposed.connect(this.dispose, this);
    if (panel.isDisposed) {
      this.dispose();
    }
    void this._begin();
  }

  get isDisposed(): boolean {
    return this.model.isDisposed;
  }

  dispose(): void {
    if (this.isDisposed) {
      return;
    }
    Signal.clearData(this);
    this._soon.dispose();
    this._ahead.dispose();
    this.model.dispose();
  }

  /** It came to the front: look again unless that was done just now. */
  seen(): void {
    if (Date.now() - this.model.updatedAt > OLD) {
      void this.look();
    }
  }

  /** Ask the server about it, once it has begun. */
  async look(): Promise<void> {
    if (this._begun && !this.isDisposed) {
      await this.model.refresh();
    }
  }

  /** Open the file that names its packages. */
  editDefinition(): void {
    const file = this.model.environment?.definition_file;
    if (file) {
      this._services.edit(file);
    }
  }

  /** Start the kernel anew, after asking. */
  async restart(): Promise<void> {
    await this._services.dialogs.restart(this.panel.sessionContext);
  }

  /** Point at a shared environment, or at nothing: the definition beside the notebook counts. */
  async use(name: string | null): Promise<void> {
    await this.pointAt(name === null ? null : { name });
  }

  /** Point at a shared environment by its name, at a definition by its path, or at nothing. */
  async pointAt(pointer: JSONObject | null): Promise<void> {
    const { context } = this.panel;
    await this.model.use(async () => {
      const notebook = context.model;
      const ours = { ...((notebook.getMetadata('element') ?? {}) as JSONObject) };
      delete ours.environment;
      if (pointer) {
        ours.environment = pointer;
      }
      if (Object.keys(ours).length > 0) {
        notebook.setMetadata('element', ours);
      } else {
        notebook.deleteMetadata('element');
      }
      await context.save();
    });
  }

  /** What the notebook points at instead of what is beside it, as the name of a shared one. */
  get pointsAt(): string | null {
    const ours = this.panel.context.model.getMetadata('element') as JSONObject | undefined;
    const pointer = ours?.environment as JSONObject | string | undefined;
    const name = typeof pointer === 'string' ? pointer : (pointer?.name ?? pointer?.path);
    return typeof name === 'string' ? name : null;
  }

  /** Add requirements, written as in a requirements file, one or more to a line. */
  async add(requirements: string[]): Promise<boolean> {
    const { context } = this.panel;
    if (context.model.dirty) {
      await context.save(); // the server may write into the notebook
    }
    return this.model.add(requirements, async file => {
      if (PathExt.extname(file) === '.ipynb') {
        await context.revert();
      }
    });
  }

  /** Below the server's root, without a drive. */
  get path(): string {
    return this._services.contents.localPath(this.panel.context.path);
  }

  private async _begin(): Promise<void> {
    await this.panel.context.ready;
    // with the kernel's start the server starts the build, and the first answer tells of it
    await this.panel.sessionContext.ready;
    this._begun = true;
    await this._kernelChanged();
  }

  private async _kernelChanged(): Promise<void> {
    if (!this._begun || this.isDisposed) {
      return;
    }
    const { session, kernelDisplayName, kernelPreference } = this.panel.sessionContext;
    const kernel = session?.kernel ?? null;
    const name = kernel?.name ?? kernelPreference.name;
    await this.model.setKernel(
      name ? { id: kernel?.id ?? '', name, displayName: kernelDisplayName } : null
    );
  }

  private _statusChanged(_: unknown, status: Kernel.Status): void {
    const before = this._status;
    this._status = status;
    if (status === 'restarting' || status === 'autorestarting') {
      this.model.kernelRestarts();
    } else if (ANSWERING.has(status) === ANSWERING.has(before)) {
      return;
    }
    if (this._begun) {
      void this._soon.invoke().catch(() => undefined);
    }
  }

  private _pathChanged(): void {
    void this.model.setPath(this.path);
  }

  private _fileChanged(_: unknown, { newValue, oldValue }: Contents.IChangedArgs): void {
    if (!this._begun) {
      return;
    }
    const changed = [newValue?.path, oldValue?.path].some(path => path && this._counts(path));
    if (changed) {
      void this._ahead.invoke().catch(() => undefined);
    }
  }

  /** Whether a file may be part of the notebook's definition. */
  private _counts(path: string): boolean {
    const local = this._services.contents.localPath(path);
    const name = PathExt.basename(local);
    const files = this.model.environment?.definition?.files ?? {};
    if (local === this.path || Object.keys(files).some(each => PathExt.basename(each) === name)) {
      return true;
    }
    const directory = PathExt.dirname(local).replace(/(^|\/)\.?binder$/, '');
    const above = directory === '' || this.path.startsWith(`${directory}/`);
    return above && PathExt.extname(name) !== '.ipynb' && MAY_DEFINE.test(name);
  }

  private _outdated(): void {
    const { trans } = this._services;
    const name = PathExt.basename(this.path);
    Notification.info(
      trans.__('The new environment of %1 is ready. Restart its kernel to use it.', name),
      {
        autoClose: false,
        actions: [
          {
            label: trans.__('Restart kernel'),
            caption: trans.__('Restart the kernel of %1 in its new environment', name),
            displayType: 'accent',
            callback: () => void this.restart()
          }
        ]
      }
    );
  }

  private _begun = false;
  private _status: Kernel.Status = 'unknown';
  private readonly _soon = new Debouncer(() => this.model.refresh(), SETTLED);
  private readonly _ahead = new Debouncer(() => this.model.buildAhead(), SETTLED);
}
