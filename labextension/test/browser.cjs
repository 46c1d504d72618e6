// what jsdom lacks of a browser, and JupyterLab wants when it is imported
if (globalThis.window) {
  globalThis.DragEvent ??= class DragEvent extends MouseEvent {};
  globalThis.matchMedia ??= () => ({ matches: false, addEventListener() {} });
  globalThis.requestIdleCallback ??= call => setTimeout(call);
  navigator.clipboard ??= {};
  globalThis.TextEncoder ??= require('node:util').TextEncoder;
  for (const name of ['Request', 'Headers', 'Response']) {
    globalThis[name] ??= class {};
  }
}
