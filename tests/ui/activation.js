// Wraps what the extension exports, before JupyterLab asks for it: how long each plugin's
// `activate` takes (performance measures "activate …").
(() => {
  const containers = (window._JUPYTERLAB ??= {});
  let container;
  Object.defineProperty(containers, '@element/labextension', {
    enumerable: true,
    get: () => container,
    set: given => {
      container = {
        ...given,
        get: async name => {
          const factory = await given.get(name);
          return () => {
            const made = factory();
            for (const plugin of [made.default ?? []].flat()) {
              const activate = plugin.activate;
              plugin.activate = (...services) => {
                const start = performance.now();
                const result = activate(...services);
                performance.measure(`activate ${plugin.id}`, { start, end: performance.now() });
                return result;
              };
            }
            return made;
          };
        }
      };
    }
  });
})();
