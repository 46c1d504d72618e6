/**
 * When the page has started, so that what can wait does not delay what cannot.
 */

/** For how long nothing is fetched once a page has started, in milliseconds. */
const CALM = 1_500;

/** When it is taken to have started at the latest, in milliseconds. */
const LATEST = 15_000;

/** Wait until nothing has been fetched for a moment. */
export async function calm(): Promise<void> {
  let observer: PerformanceObserver | undefined;
  await new Promise<void>(resolve => {
    let waiting = setTimeout(resolve, CALM);
    const latest = Date.now() + LATEST;
    observer = new PerformanceObserver(() => {
      clearTimeout(waiting);
      waiting = setTimeout(resolve, Math.min(CALM, latest - Date.now()));
    });
    observer.observe({ type: 'resource' });
  });
  observer?.disconnect();
}
