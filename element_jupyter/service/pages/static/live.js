/** A part of a page that is given anew while somebody looks at it. */

import { localTimes } from './frame.js';

const EVERY_MS = 10_000;
const CLOCK = new Intl.DateTimeFormat(undefined, { timeStyle: 'medium' });

/** @type {Date} */
let heardAt = new Date();
let under_way = false;

/** Show the live part as it is now; what is chosen, open and focused stays so. */
export async function refresh() {
  const live = document.querySelector('[data-live]');
  if (live === null || under_way) {
    return;
  }
  under_way = true;
  try {
    const xsrf = document.querySelector('meta[name="element-xsrf"]')?.getAttribute('content');
    const answer = await fetch(window.location.href, {
      headers: { 'X-XSRFToken': xsrf ?? '' },
      credentials: 'same-origin'
    });
    if (answer.status === 401) {
      window.location.reload();
      return;
    }
    if (!answer.ok) {
      throw new TypeError(`status ${answer.status}`);
    }
    const given = new DOMParser().parseFromString(await answer.text(), 'text/html');
    const fresh = given.querySelector('[data-live]');
    if (fresh === null) {
      throw new TypeError('the page has no such part');
    }
    put(live, document.adoptNode(fresh));
    heardAt = new Date();
    stale(null);
  } catch (error) {
    if (!(error instanceof TypeError)) {
      throw error;
    }
    stale(`Not updated since ${CLOCK.format(heardAt)}: the platform did not answer.`);
  } finally {
    under_way = false;
    told();
  }
}

/**
 * @param {Element} live
 * @param {Element} fresh
 */
function put(live, fresh) {
  const chosen = [...live.querySelectorAll('input:checked')].map(each => each.id);
  const focused = live.contains(document.activeElement) ? document.activeElement?.id : '';
  localTimes(fresh);
  live.replaceChildren(...fresh.childNodes);
  for (const id of chosen) {
    const box = document.getElementById(id);
    if (box instanceof HTMLInputElement && !box.disabled) {
      box.checked = true;
    }
  }
  if (focused) {
    document.getElementById(focused)?.focus();
  }
  live.dispatchEvent(new Event('live'));
}

/** @param {string | null} sentence */
function stale(sentence) {
  const place = document.querySelector('[data-live-stale]');
  if (place instanceof HTMLElement && place.textContent !== (sentence ?? '')) {
    place.textContent = sentence ?? '';
    place.hidden = sentence === null;
  }
}

function told() {
  const place = document.querySelector('[data-live-told]');
  if (place) {
    place.textContent = `Shown anew every ${EVERY_MS / 1000} seconds while you look.`;
  }
}

/** Whether a new picture would be in somebody's way, or seen by nobody. */
function waits() {
  return document.visibilityState !== 'visible' || document.querySelector('dialog[open]') !== null;
}

told();
window.setInterval(() => {
  if (!waits()) {
    void refresh();
  }
}, EVERY_MS);
document.addEventListener('visibilitychange', () => {
  if (!waits()) {
    void refresh();
  }
});
