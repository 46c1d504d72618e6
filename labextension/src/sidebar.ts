/**
 * The place of a panel in a side bar; what is in it is loaded when it is first shown.
 */
import type { TranslationBundle } from '@jupyterlab/translation';
import type { LabIcon } from '@jupyterlab/ui-components';
import type { Message } from '@lumino/messaging';
import { PanelLayout, Widget } from '@lumino/widgets';

interface IOptions {
  id: string;
  /** What the panel is called. */
  name: string;
  icon: LabIcon;
  trans: TranslationBundle;
  /** Makes what is in it. */
  load: () => Promise<Widget>;
}

export class Sidebar extends Widget {
  constructor(private readonly _options: IOptions) {
    super();
    const { id, name, icon } = _options;
    this.id = id;
    this.addClass('jp-ElementSidebar');
    this.title.icon = icon;
    this.title.caption = name;
    this.node.setAttribute('role', 'region');
    this.node.setAttribute('aria-label', name);
    this.node.tabIndex = -1;
    this.layout = new PanelLayout();
  }

  protected onBeforeShow(message: Message): void {
    super.onBeforeShow(message);
    if (!this._loaded) {
      this._loaded = true;
      void this._fill();
    }
  }

  protected onActivateRequest(message: Message): void {
    super.onActivateRequest(message);
    this.node.focus();
  }

  private async _fill(): Promise<void> {
    try {
      const content = await this._options.load();
      (this.layout as PanelLayout).addWidget(content);
    } catch (reason) {
      this._loaded = false;
      const failed = document.createElement('p');
      failed.setAttribute('role', 'alert');
      failed.textContent = this._options.trans.__(
        'The panel was not loaded: %1 Reload the page to try again.',
        reason instanceof Error ? reason.message : String(reason)
      );
      this.node.replaceChildren(failed);
    }
  }

  private _loaded = false;
}
