/**
 * Outputs of strangers: JupyterLab's own renderers, with nothing that runs and nothing that loads.
 */
import type * as nbformat from '@jupyterlab/nbformat';
import type { IRenderMimeRegistry } from '@jupyterlab/rendermime';
import { RenderMimeRegistry, standardRendererFactories } from '@jupyterlab/rendermime';
import type { IRenderMime } from '@jupyterlab/rendermime-interfaces';
import { Widget } from '@lumino/widgets';

/** What an element loads by itself, or sends to when it is used. */
const LOADING = [
  'src',
  'srcset',
  'poster',
  'background',
  'data',
  'action',
  'formaction',
  'ping',
  'lowsrc',
  'dynsrc'
];

const MAY_LOAD =
  /\b(?:src|srcset|poster|background|data|action|ping|style|href)\b|<form|commandlinker/i;

/** What is in the page already, so that showing it asks nobody. */
const INSIDE = /^(?:data:image\/|attachment:)/i;

/** Charts are drawn from a description, which may name other places to load from. */
const CHARTS = /^application\/vnd\.vega/;

/**
 * The renderers for what strangers made: what would run is not offered, and nothing is loaded.
 *
 * A drawing is shown as a picture, in which a browser runs no script and loads nothing.
 */
export function untrusted(known: IRenderMimeRegistry | null): IRenderMimeRegistry {
  const base = known ?? new RenderMimeRegistry({ initialFactories: standardRendererFactories });
  const registry = base.clone({
    sanitizer: withoutLoading(base.sanitizer),
    latexTypesetter: whereThereIsMath(base.latexTypesetter)
  });
  registry.addFactory({
    safe: true,
    mimeTypes: ['image/svg+xml'],
    defaultRank: 80,
    createRenderer: () => new Drawing()
  });
  return registry;
}

/** The same renderers, for text in which nothing is a formula. */
export function withoutMath(registry: IRenderMimeRegistry): IRenderMimeRegistry {
  return registry.clone({ latexTypesetter: { typeset: () => undefined } });
}

/** The same renderers, with pictures that are attached to one cell. */
export function withAttachments(
  registry: IRenderMimeRegistry,
  attachments: nbformat.IAttachments
): IRenderMimeRegistry {
  return registry.clone({
    resolver: {
      resolveUrl: async url => url,
      getDownloadUrl: async url => {
        if (!url.startsWith('attachment:')) {
          return url;
        }
        const name = url.slice('attachment:'.length);
        const bundle = attachments[name] ?? attachments[decodeURI(name)] ?? {};
        const type = Object.keys(bundle).find(each => /^image\/[\w.+-]+$/.test(each));
        return type ? `data:${type};base64,${String(bundle[type])}` : '';
      },
      isLocal: url => url.startsWith('attachment:')
    }
  });
}

/** An output that may be shown: its data without what loads or leaves its place. */
export function harmless(output: nbformat.IOutput): nbformat.IOutput {
  const { data, metadata } = output as { data?: nbformat.IMimeBundle; metadata?: object };
  if (!data || typeof data !== 'object') {
    return output;
  }
  const kept = Object.entries(data).filter(
    ([type, value]) => !(CHARTS.test(type) && namesPlaces(value))
  );
  return {
    ...output,
    data: Object.fromEntries(kept),
    metadata: Object.fromEntries(
      Object.entries(metadata ?? {}).filter(([name]) => name !== 'isolated')
    )
  } as nbformat.IOutput;
}

/** A sanitizer that goes over what JupyterLab's own has left. */
function withoutLoading(base: IRenderMime.ISanitizer): IRenderMime.ISanitizer {
  return {
    sanitize: (dirty, options) => {
      const clean = base.sanitize(dirty, options);
      if (!MAY_LOAD.test(clean)) {
        return clean;
      }
      // what is in a template neither loads nor runs
      const template = document.createElement('template');
      template.innerHTML = clean;
      for (const element of Array.from(template.content.querySelectorAll('*'))) {
        disarm(element);
        if (element.localName === 'form') {
          // sending it, wherever, would take JupyterLab off the page
          element.replaceWith(...Array.from(element.childNodes));
        }
      }
      return template.innerHTML;
    },
    getAutolink: () => base.getAutolink?.() ?? true,
    allowNamedProperties: false
  };
}

/** A typesetter that passes over what has no formula: looking for one measures the whole page. */
function whereThereIsMath(
  base: IRenderMime.ILatexTypesetter | null
): IRenderMime.ILatexTypesetter | undefined {
  return (
    (base && {
      typeset: node =>
        /\$|\\[([]|\\begin\b/.test(node.textContent ?? '') ? base.typeset(node) : undefined
    }) ??
    undefined
  );
}

function disarm(element: Element): void {
  for (const name of element.getAttributeNames()) {
    const value = element.getAttribute(name) ?? '';
    const bare = name.toLowerCase();
    const loads = LOADING.includes(bare) && !INSIDE.test(value.trim());
    const runs = bare.startsWith('data-commandlinker') || bare.startsWith('on');
    const paints = bare === 'style' && /url|image|src|expression|\\/i.test(value);
    const links = bare.endsWith('href') && !isLink(element, value);
    if (loads || runs || paints || links) {
      element.removeAttribute(name);
      if (bare === 'src' && element.localName === 'img' && !element.getAttribute('alt')) {
        element.setAttribute('alt', value.slice(0, 200));
      }
    }
  }
}

/** Whether this is a link that a person may follow. */
function isLink(element: Element, url: string): boolean {
  return element.localName === 'a' && /^\s*(?:https?:|mailto:|#)/i.test(url);
}

function namesPlaces(value: unknown): boolean {
  if (typeof value === 'string') {
    return /^\s*(?:[a-z][a-z\d+.-]*:)?[\\/]{2}/i.test(value);
  }
  if (typeof value !== 'object' || value === null) {
    return false;
  }
  // the schema of a chart is an address, and its name only
  return Object.entries(value).some(
    ([name, inner]) => name === 'url' || (name !== '$schema' && namesPlaces(inner))
  );
}

/** A drawing as a picture. */
class Drawing extends Widget implements IRenderMime.IRenderer {
  constructor() {
    super();
    this.addClass('jp-RenderedSVG');
    this.node.dataset.mimeType = 'image/svg+xml';
  }

  async renderModel(model: IRenderMime.IMimeModel): Promise<void> {
    const source = model.data['image/svg+xml'];
    const text = Array.isArray(source) ? source.join('') : String(source);
    const { width, height } = (model.metadata['image/svg+xml'] ?? {}) as {
      width?: unknown;
      height?: unknown;
    };
    const image = document.createElement('img');
    image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(text)}`;
    const named = model.data['text/plain'];
    image.alt = typeof named === 'string' ? named : '';
    if (typeof width === 'number') {
      image.width = width;
    }
    if (typeof height === 'number') {
      image.height = height;
    }
    this.node.replaceChildren(image);
  }
}
