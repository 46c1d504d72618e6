/**
 * What `%pip install` shows when a restart is needed: its words, and a button beside them.
 */
import type { IRenderMime } from '@jupyterlab/rendermime-interfaces';
import type { TranslationBundle } from '@jupyterlab/translation';
import type { Message } from '@lumino/messaging';
import { Widget } from '@lumino/widgets';

export const RESTART_TYPE = 'application/vnd.element.restart+json';

/** What an offer can do for the notebook that it is in. */
export interface IOffered {
  /** Look at its environment, which has changed. */
  look: (offer: Widget) => Promise<void>;
  /** Restart its kernel. */
  restart: (offer: Widget) => Promise<void>;
}

class RestartOffer extends Widget implements IRenderMime.IRenderer {
  constructor(
    private readonly _trans: TranslationBundle,
    private readonly _notebook: IOffered
  ) {
    super();
    this.addClass('jp-ElementRestart');
  }

  protected onAfterAttach(message: Message): void {
    super.onAfterAttach(message);
    void this._notebook.look(this);
  }

  async renderModel(model: IRenderMime.IMimeModel): Promise<void> {
    const offer = model.data[RESTART_TYPE] as { message?: unknown } | undefined;
    const said = offer?.message ?? model.data['text/plain'];
    const text = document.createElement('span');
    text.textContent = typeof said === 'string' ? said : '';
    const button = document.createElement('button');
    button.type = 'button';
    button.className = 'jp-ElementButton jp-mod-styled';
    button.textContent = this._trans.__('Restart kernel');
    button.title = this._trans.__('Restart the kernel of this notebook in its new environment');
    button.addEventListener('click', () => void this._notebook.restart(this));
    this.node.replaceChildren(text, button);
  }
}

export function restartRenderer(
  trans: TranslationBundle,
  notebook: IOffered
): IRenderMime.IRendererFactory {
  return {
    safe: true, // it shows text, and its button asks
    mimeTypes: [RESTART_TYPE],
    defaultRank: 40,
    createRenderer: () => new RestartOffer(trans, notebook)
  };
}
