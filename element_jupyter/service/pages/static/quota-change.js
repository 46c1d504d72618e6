/** One change of the quotas: what it would do is said first, and nobody's change is lost. */

import { attempt, question, reloadSaying, tell } from './dialog.js';
import { ask, Refusal } from './rest.js';

const SHOWN = 8;

/**
 * @typedef {import('./quota-document.js').Quotas} Quotas
 * @typedef {{ title: string, verb: string, done: string, by?: 'page' | 'apply', reason?: string,
 *   always?: boolean }} Words `always`: ask even where nobody else is concerned
 */

/** What a dry run says, as sentences. @param {any} effects @returns {string[]} */
export function sentences(effects) {
  const over = effects.over.map((/** @type {any} */ each) => each.sentence);
  const more = over.length > SHOWN ? [`And ${over.length - SHOWN} more.`] : [];
  return [
    ...effects.changes.slice(0, SHOWN),
    ...(effects.changes.length > SHOWN ? [`And ${effects.changes.length - SHOWN} more.`] : []),
    ...effects.affected.slice(0, SHOWN).map((/** @type {any} */ each) => each.sentence),
    effects.sentence,
    ...over.slice(0, SHOWN),
    ...more
  ];
}

/**
 * Change the quotas; the page is shown anew when that is done.
 *
 * @param {string} version the one that the page shows, which the person has looked at
 * @param {(quotas: Quotas) => void} edit
 * @param {Words} words
 * @returns {Promise<boolean>} whether it was done
 */
export async function change(version, edit, words) {
  let etag = `"${version}"`;
  for (;;) {
    const { value, etag: newest } = await ask('/quotas');
    /** @type {Quotas} */
    const quotas = value.quotas;
    edit(quotas);
    try {
      return await saved(quotas, etag, words);
    } catch (error) {
      if (!(error instanceof Refusal) || error.status !== 409) {
        throw error;
      }
      const answered = await question({
        title: 'Somebody else has changed the quotas',
        sentences: [
          error.message,
          ...(error.problem.details ?? '').split('\n').filter(Boolean),
          'Make your change to that, or look at it first?'
        ],
        verb: 'Make my change to theirs',
        other: 'Show theirs'
      });
      if (answered?.answer === 'other') {
        window.location.reload();
      }
      if (answered?.answer !== 'verb') {
        return false;
      }
      etag = newest;
    }
  }
}

/** @param {Quotas} quotas @param {string} etag @param {Words} words @returns {Promise<boolean>} */
async function saved(quotas, etag, words) {
  const asked = { method: 'PUT', body: quotas, headers: { 'If-Match': etag } };
  const { value: effects } = await ask('/quotas?dry_run=true', asked);
  if (effects.changes.length === 0) {
    tell('That is what they say already.');
    return false;
  }
  const people = effects.affected.reduce(
    (/** @type {number} */ sum, /** @type {any} */ each) => sum + each.people,
    0
  );
  let reason = words.reason ?? '';
  if (words.always || people > 1 || effects.over_count > 0 || effects.over.length > 0) {
    const answered = await question({
      title: words.title,
      sentences: sentences(effects),
      verb: words.verb,
      reason: words.reason === undefined ? 'Why (optional)' : undefined
    });
    if (answered === null) {
      return false;
    }
    reason = reason || answered.reason;
  }
  const query = new URLSearchParams({ by: words.by ?? 'page', reason });
  const { value } = await ask(`/quotas?${query}`, asked);
  const before = Number(etag.replaceAll('"', ''));
  reloadSaying({ text: words.done, undo: { version: before, etag: `"${value.version}"` } });
  return true;
}

/**
 * Go back to a version, once the person has seen what that does.
 *
 * @param {number} version
 * @param {string} etag of the version that counts
 * @param {boolean} [asking]
 */
export async function goBack(version, etag, asking = true) {
  const asked = { method: 'POST', body: { version }, headers: { 'If-Match': etag } };
  if (asking) {
    const { value: effects } = await ask('/quotas/undo?dry_run=true', asked);
    const answered = await question({
      title: `Go back to version ${version}?`,
      sentences: effects.changes.length > 0 ? sentences(effects) : ['It says what counts now.'],
      verb: `Go back to ${version}`
    });
    if (answered === null) {
      return;
    }
  }
  await ask('/quotas/undo?by=page', asked);
  reloadSaying({ text: `The quotas are those of version ${version} again.` });
}

/** Say what was done before the page was shown anew, with its undo. @param {any} said */
export function sayAgain(said) {
  if (!said) {
    return;
  }
  const undo = said.undo;
  tell(
    said.text,
    undo && undo.version > 0
      ? { label: 'Undo', act: () => goBack(undo.version, undo.etag, false) }
      : undefined
  );
}

export { attempt };
