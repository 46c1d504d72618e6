/** Questions before something is done, and what is said after it. */

import { Refusal } from './rest.js';

const TOLD_MS = 10_000;
const KEPT = 'element-said';

/**
 * Make an element with text; the text is never read as markup.
 *
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {string} [text]
 * @param {string} [classes]
 * @returns {HTMLElementTagNameMap[Tag]}
 */
export function element(tag, text = '', classes = '') {
  const made = document.createElement(tag);
  made.textContent = text;
  made.className = classes;
  return made;
}

/**
 * Ask before something is done; resolves to what was answered, or null where it was not wanted.
 *
 * @param {{ title: string, sentences: string[], verb: string, danger?: boolean, reason?: string,
 *   other?: string }} question `reason`: what to ask for in words; `other`: a second thing that can be done
 * @returns {Promise<{ answer: 'verb' | 'other', reason: string } | null>}
 */
export function question(question) {
  const dialog = element('dialog', '', 'el-dialog');
  const form = element('form');
  form.method = 'dialog';
  const title = element('h2', question.title, 'h5');
  title.id = 'el-question';
  dialog.setAttribute('aria-labelledby', title.id);
  form.append(title);
  for (const each of question.sentences) {
    form.append(element('p', each, 'mb-2'));
  }
  const reason = element('input', '', 'form-control');
  if (question.reason) {
    const label = element('label', question.reason, 'form-label d-block');
    reason.maxLength = 500;
    reason.autocomplete = 'off';
    label.append(reason);
    form.append(label);
  }
  const buttons = element('div', '', 'd-flex flex-wrap gap-2 justify-content-end mt-3');
  const cancel = element('button', 'Cancel', 'btn btn-outline-contrast');
  cancel.type = 'button';
  cancel.addEventListener('click', () => dialog.close());
  buttons.append(cancel);
  if (question.other) {
    const other = element('button', question.other, 'btn btn-outline-contrast');
    other.value = 'other';
    other.type = 'submit';
    buttons.append(other);
  }
  const done = element(
    'button',
    question.verb,
    `btn btn-${question.danger ? 'danger' : 'primary'}`
  );
  done.value = 'verb';
  // Enter in the field presses the first button there is
  if (question.other) {
    form.addEventListener('keydown', event => {
      if (event.key === 'Enter' && event.target === reason) {
        event.preventDefault();
        dialog.close('verb');
      }
    });
  }
  buttons.append(done);
  form.append(buttons);
  dialog.append(form);
  document.body.append(dialog);
  return new Promise(resolve => {
    dialog.addEventListener('close', () => {
      const answer = dialog.returnValue;
      dialog.remove();
      resolve(
        answer === 'verb' || answer === 'other' ? { answer, reason: reason.value.trim() } : null
      );
    });
    dialog.showModal();
    (question.reason ? reason : done).focus();
  });
}

/**
 * Say what has been done, for ten seconds, with one thing that can be done about it.
 *
 * @param {string} text
 * @param {{ label: string, act: () => Promise<void> }} [action]
 */
export function tell(text, action) {
  const place = document.getElementById('el-toasts');
  const toast = element('div', '', 'el-toast');
  toast.append(element('span', text));
  if (action) {
    const button = element('button', action.label, 'btn btn-sm');
    button.type = 'button';
    button.addEventListener('click', () => void attempt(button, action.act));
    toast.append(button);
  }
  place?.append(toast);
  window.setTimeout(() => toast.remove(), TOLD_MS);
}

/**
 * Do something while a button shows that it is under way; what is refused is said.
 *
 * @param {HTMLElement} button
 * @param {() => Promise<void>} act
 * @param {HTMLElement | null} [place] an alert that is hidden while nothing was refused
 */
export async function attempt(button, act, place = null) {
  if (button.getAttribute('aria-busy') === 'true') {
    return;
  }
  button.setAttribute('aria-busy', 'true');
  if (place) {
    place.hidden = true;
  }
  try {
    await act();
  } catch (error) {
    if (!(error instanceof Refusal)) {
      throw error;
    }
    if (place) {
      place.textContent = `${error.message} ${error.hint}`.trim();
      place.hidden = false;
    } else {
      tell(`${error.message} ${error.hint}`.trim());
    }
  } finally {
    button.removeAttribute('aria-busy');
  }
}

/**
 * Show the page as it is now, and say there what has been done.
 *
 * @param {{ text: string, undo?: { version: number, etag: string } }} said
 */
export function reloadSaying(said) {
  sessionStorage.setItem(KEPT, JSON.stringify(said));
  window.location.reload();
}

/** What the page that was here before has left to say. @returns {any} */
export function leftToSay() {
  const kept = sessionStorage.getItem(KEPT);
  sessionStorage.removeItem(KEPT);
  return kept === null ? null : JSON.parse(kept);
}
