/** Stopping what runs: one, or what is chosen. */

import { attempt, question, tell } from './dialog.js';
import { refresh } from './live.js';
import { Refusal, ask } from './rest.js';

const NAMED = 10;
const live = /** @type {HTMLElement} */ (document.querySelector('[data-live]'));

/** @returns {HTMLInputElement[]} */
function boxes() {
  return [...live.querySelectorAll('tbody input[type="checkbox"]')].filter(
    each => each instanceof HTMLInputElement
  );
}

/** @returns {HTMLTableRowElement[]} */
function chosen() {
  return boxes()
    .filter(each => each.checked && !each.disabled)
    .map(each => each.closest('tr'))
    .filter(row => row !== null);
}

function count() {
  const { length } = chosen();
  const button = live.querySelector('#stop-chosen');
  const place = live.querySelector('#chosen-count');
  if (button instanceof HTMLButtonElement) {
    button.disabled = length === 0;
  }
  if (place) {
    place.textContent = length === 0 ? '' : `${length} chosen`;
  }
}

/**
 * @param {HTMLTableRowElement[]} rows
 * @param {HTMLElement} button
 */
async function stop(rows, button) {
  const one = rows.length === 1;
  const named = rows.slice(0, NAMED).map(row => row.dataset.called ?? '');
  const more = rows.length - named.length;
  const losses = [...new Set(rows.map(row => row.dataset.loses ?? ''))];
  const answer = await question({
    title: one ? `Stop ${named[0]}?` : `Stop ${rows.length} servers and runs?`,
    sentences: [
      ...(one ? [] : [`${named.join(', ')}${more > 0 ? ` and ${more} more` : ''}.`]),
      ...losses
    ],
    verb: one ? 'Stop it' : `Stop ${rows.length}`,
    danger: true
  });
  if (answer === null) {
    button.focus();
    return;
  }
  await attempt(button, () => stopAll(rows));
  await refresh();
  count();
}

/** @param {HTMLTableRowElement[]} rows */
async function stopAll(rows) {
  let stopped = 0;
  for (const row of rows) {
    try {
      await ask(`/running/${row.dataset.id}/stop`, { method: 'POST' });
      stopped += 1;
    } catch (error) {
      if (!(error instanceof Refusal)) {
        throw error;
      }
      tell(`${row.dataset.called}: ${error.message} ${error.hint}`.trim());
    }
  }
  if (stopped > 0) {
    const name = rows.length === 1 ? rows[0]?.dataset.called : `${stopped} of ${rows.length}`;
    tell(`Told to stop: ${name}.`);
  }
}

live.addEventListener('change', event => {
  if (event.target instanceof HTMLInputElement && event.target.id === 'choose-all') {
    for (const each of boxes()) {
      each.checked = event.target.checked && !each.disabled;
    }
  }
  count();
});
live.addEventListener('live', count);
live.addEventListener('click', event => {
  const button = event.target instanceof Element ? event.target.closest('button') : null;
  if (button === null) {
    return;
  }
  const row = button.closest('tr');
  if (button.id === 'stop-chosen') {
    void stop(chosen(), button);
  } else if (row !== null && 'stop' in button.dataset) {
    void stop([row], button);
  }
});
count();
