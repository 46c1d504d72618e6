/** Requests for more: asked on one's own page, decided by leads and administrators. */

import { attempt, leftToSay, question, reloadSaying, tell } from './dialog.js';
import { inBytes } from './quota-document.js';
import { ask } from './rest.js';

const said = leftToSay();
if (said) {
  tell(said.text);
}

const VERBS = /** @type {const} */ ({
  approve: { title: 'Approve this?', verb: 'Approve', done: 'Approved' },
  decline: { title: 'Decline this?', verb: 'Decline', done: 'Declined' }
});

for (const button of document.querySelectorAll('button[data-el-decide]')) {
  if (button instanceof HTMLElement) {
    const how = button.dataset.elDecide === 'approve' ? 'approve' : 'decline';
    button.addEventListener('click', () => void attempt(button, () => decide(button, how)));
  }
}

/** @param {HTMLElement} button @param {'approve' | 'decline'} how */
async function decide(button, how) {
  const { id, what = '' } = button.dataset;
  const answered = await question({
    title: VERBS[how].title,
    sentences: [what],
    verb: VERBS[how].verb,
    danger: how === 'decline',
    reason: 'A word to them (optional)'
  });
  if (answered === null) {
    return;
  }
  const body = { answer: answered.reason };
  await ask(`/quota/requests/${id}/${how}`, { method: 'POST', body });
  reloadSaying({ text: `${VERBS[how].done}: ${what}.` });
}

const dialog = document.getElementById('ask-dialog');
const form = dialog?.querySelector('form');
if (dialog instanceof HTMLDialogElement && form) {
  /** @param {string} name @returns {HTMLInputElement} */
  const field = name => /** @type {HTMLInputElement} */ (form.elements.namedItem(name));
  const follow = () => {
    const option = form.querySelector(`option[value="${field('thing').value}"]`);
    const unit = document.getElementById('ask-unit');
    const per = document.getElementById('ask-per-field');
    if (option instanceof HTMLElement && unit && per) {
      unit.textContent = option.dataset.unit ? `(${option.dataset.unit})` : '';
      per.hidden = !field('thing').value.startsWith('budget.');
    }
  };
  form.addEventListener('change', follow);
  form.addEventListener('submit', event => {
    event.preventDefault();
    const [kind = '', resource = ''] = field('thing').value.split('.');
    const body = {
      team: field('team').value,
      kind,
      resource,
      amount: inBytes(resource, Number(field('amount').value)),
      per: kind === 'budget' ? field('per').value.trim() : null,
      until: field('until').value,
      reason: field('reason').value.trim()
    };
    const send = /** @type {HTMLElement} */ (form.querySelector('button[value=send]'));
    const place = /** @type {HTMLElement | null} */ (form.querySelector('[role=alert]'));
    void attempt(
      send,
      async () => {
        await ask('/quota/requests', { method: 'POST', body });
        reloadSaying({ text: 'Your request is there; a lead or an administrator decides.' });
      },
      place
    );
  });
  document.getElementById('ask')?.addEventListener('click', () => {
    follow();
    dialog.showModal();
  });
  dialog.querySelector('[data-el-close]')?.addEventListener('click', () => dialog.close());
}
