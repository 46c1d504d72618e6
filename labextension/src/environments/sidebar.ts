/**
 * The place of the panel in the side bar; what is in it is loaded when it is first shown.
 */
import type { TranslationBundle } from '@jupyterlab/translation';
import type { Message } from '@lumino/messaging';
import { PanelLayout, Widget } from '@lumino/widgets';

import { environmentIcon } from '../icons';

export class EnvironmentSidebar extends Widget {
  constructor(
    private readonly _trans: TranslationBundle,
    private readonly _load: () => Promise<Widget>
  ) {
    super();
    this.id = 'element-environment';
    this.addClass('jp-ElementSidebar');
    this.title.icon = environmentIcon;
    this.title.caption = _trans.__('Environment');
    this.node.setAttribute('role', 'region');
    this.node.setAttribute('aria-label', _trans.__('Environment'));
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
      const content = await this._load();
      (this.layout as PanelLayout).addWidget(content);
    } catch (reason) {
      this._loaded = false;
      const failed = document.createElement('p');
      failed.setAttribute('role', 'alert');
      failed.textContent = this._trans.__(
        'The panel was not loaded: %1 Reload the page to try again.',
        reason instanceof Error ? reason.message : String(reason)
      );
      this.node.replaceChildren(failed);
    }
  }

  private _loaded = false;
}
