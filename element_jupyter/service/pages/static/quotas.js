/** The quotas changed in place: one limit, several, a new one, or all of a file. */

import { element, leftToSay } from './dialog.js';
import { attempt, change, sayAgain } from './quota-change.js';
import { inBytes, remove, set } from './quota-document.js';
import { askPage } from './rest.js';

/** @typedef {import('./quota-document.js').Thing} Thing */

const version = document.getElementById('quotas')?.dataset.version ?? '0';
const rows = /** @type {NodeListOf<HTMLTableRowElement>} */ (
  document.querySelectorAll('#limits tbody tr')
);

/** @param {HTMLTableRowElement} row @returns {Thing} */
function thingOf(row) {
  const { who = '', kind = '', resource = '', per = '', until = '' } = row.dataset;
  return { who, kind, resource, per, until };
}

/** @param {string} resource @param {string} typed @param {boolean} unlimited @returns {import('./quota-document.js').Amount} */
function amountOf(resource, typed, unlimited) {
  return unlimited ? 'unlimited' : inBytes(resource, Number(typed));
}

/** @template {HTMLElement} T @param {string} id @returns {T | null} */
function byId(id) {
  return /** @type {T | null} */ (document.getElementById(id));
}

/** @param {HTMLElement} form @returns {HTMLElement | null} */
function alertIn(form) {
  return form.querySelector('[role=alert]');
}

// ------------------------------------------------------------------------------ one, in place

/** @param {HTMLTableRowElement} row */
function edit(row) {
  const cell = row.querySelector('.el-limit');
  const button = row.querySelector('.el-edit');
  if (!(cell instanceof HTMLElement) || !(button instanceof HTMLButtonElement)) {
    return;
  }
  const name = row.dataset.name ?? '';
  const thing = thingOf(row);
  const form = element('form', '', 'el-editing');
  const amount = element('input', '', 'form-control form-control-sm el-amount');
  amount.type = 'number';
  amount.min = '0';
  amount.step = 'any';
  amount.required = true;
  amount.value = row.dataset.amount ?? '';
  amount.setAttribute('aria-label', `${name}${row.dataset.unit ? `, in ${row.dataset.unit}` : ''}`);
  const label = element('label', '', 'mb-0 text-nowrap');
  const unlimited = element('input', '', 'form-check-input');
  unlimited.type = 'checkbox';
  unlimited.checked = amount.value === '';
  label.append(unlimited, ' no limit');
  const save = element('button', 'Save', 'btn btn-sm btn-primary');
  const cancel = element('button', 'Cancel', 'btn btn-sm btn-outline-contrast');
  cancel.type = 'button';
  const refused = element('div', '', 'alert alert-danger py-1 px-2 mb-0 w-100');
  refused.setAttribute('role', 'alert');
  refused.hidden = true;
  form.append(amount);
  if (row.dataset.unit) {
    form.append(element('span', row.dataset.unit));
  }
  form.append(label, save, cancel, refused);
  noLimit(unlimited, amount);

  const revert = () => {
    form.remove();
    button.hidden = false;
    button.focus();
  };
  cancel.addEventListener('click', revert);
  form.addEventListener('keydown', event => {
    if (event.key === 'Escape') {
      event.preventDefault();
      revert();
    }
  });
  form.addEventListener('submit', event => {
    event.preventDefault();
    const said = amountOf(thing.resource, amount.value, unlimited.checked);
    void attempt(
      save,
      async () => {
        const done = await change(version, quotas => set(quotas, thing, said), {
          title: `Change ${name}?`,
          verb: 'Save the limit',
          done: `${name}: changed.`
        });
        if (!done && form.isConnected) {
          revert();
        }
      },
      refused
    );
  });
  button.hidden = true;
  cell.append(form);
  amount.focus();
  amount.select();
}

/** Have a box say that there is no limit, and the field beside it nothing. @param {HTMLInputElement} box @param {HTMLInputElement} amount */
function noLimit(box, amount) {
  const follow = () => {
    amount.disabled = box.checked;
    amount.required = !box.checked;
  };
  box.addEventListener('change', follow);
  follow();
}

for (const row of rows) {
  const name = row.dataset.name ?? '';
  row.querySelector('.el-edit')?.addEventListener('click', () => edit(row));
  const removing = row.querySelector('.el-remove');
  if (removing instanceof HTMLElement) {
    removing.addEventListener('click', () => {
      const words = {
        title: `Remove ${name}?`,
        verb: 'Remove the limit',
        done: `${name}: removed.`,
        always: true
      };
      void attempt(removing, async () => {
        await change(version, quotas => remove(quotas, thingOf(row)), words);
      });
    });
  }
  row.querySelector('.el-except')?.addEventListener('click', () => openLimit(thingOf(row)));
}

// ------------------------------------------------------------------------------ several at once

const bulk = byId('bulk');
const boxes = [...rows].map(row => ({
  row,
  box: /** @type {HTMLInputElement | null} */ (row.querySelector('input[type=checkbox]'))
}));

function chosen() {
  return boxes.filter(each => each.box?.checked).map(each => each.row);
}

function showBulk() {
  const found = chosen();
  const units = new Set(found.map(row => row.dataset.unit ?? ''));
  const count = byId('bulk-count');
  const unit = byId('bulk-unit');
  if (bulk && count && unit) {
    bulk.hidden = found.length === 0;
    count.textContent = `${found.length} chosen`;
    // what is in GiB and what is a number are not set to one amount
    unit.textContent = units.size === 1 ? [...units][0] : '(not all have one unit)';
    const save = bulk.querySelector('button:not([type])');
    save?.toggleAttribute('disabled', units.size !== 1);
  }
}

for (const each of boxes) {
  each.box?.addEventListener('change', showBulk);
}
byId('choose-all')?.addEventListener('change', event => {
  for (const each of boxes) {
    if (each.box && event.target instanceof HTMLInputElement) {
      each.box.checked = event.target.checked;
    }
  }
  showBulk();
});
if (bulk instanceof HTMLFormElement) {
  const amount = /** @type {HTMLInputElement} */ (bulk.elements.namedItem('amount'));
  const unlimited = /** @type {HTMLInputElement} */ (bulk.elements.namedItem('unlimited'));
  const save = /** @type {HTMLElement} */ (bulk.querySelector('button:not([type])'));
  const removing = byId('bulk-remove');
  noLimit(unlimited, amount);
  bulk.addEventListener('submit', event => {
    event.preventDefault();
    const things = chosen().map(thingOf);
    void attempt(save, async () => {
      await change(
        version,
        quotas => {
          for (const thing of things) {
            set(quotas, thing, amountOf(thing.resource, amount.value, unlimited.checked));
          }
        },
        {
          title: `Change ${things.length} limits?`,
          verb: `Save ${things.length} limits`,
          done: `${things.length} limits were changed.`,
          always: true
        }
      );
    });
  });
  removing?.addEventListener('click', () => {
    const things = chosen().map(thingOf);
    void attempt(removing, async () => {
      await change(version, quotas => things.forEach(thing => remove(quotas, thing)), {
        title: `Remove ${things.length} limits?`,
        verb: `Remove ${things.length} limits`,
        done: `${things.length} limits were removed.`,
        always: true
      });
    });
  });
}

// ------------------------------------------------------------------------------ a new one

const limitDialog = /** @type {HTMLDialogElement | null} */ (byId('limit-dialog'));
const limitForm = limitDialog?.querySelector('form') ?? null;

/** @param {string} name @returns {HTMLInputElement} */
function field(name) {
  return /** @type {HTMLInputElement} */ (limitForm?.elements.namedItem(name));
}

function followThing() {
  const option = /** @type {HTMLSelectElement} */ (/** @type {unknown} */ (field('thing')))
    .selectedOptions[0];
  const unit = byId('limit-unit');
  const per = byId('limit-per-field');
  if (unit && per) {
    unit.textContent = option?.dataset.unit ? `(${option.dataset.unit})` : '';
    per.hidden = !option?.value.startsWith('budget.');
  }
  const isEveryone = field('what').value === 'everyone';
  field('name').disabled = isEveryone;
  field('name').required = !isEveryone;
}

/** @param {Thing} [excepted] what an exception with an end is made of */
function openLimit(excepted) {
  if (!limitForm || !limitDialog) {
    return;
  }
  limitForm.reset();
  if (excepted) {
    const [what, name = ''] = excepted.who.split(/:(.*)/s);
    field('what').value = what ?? '';
    field('name').value = name;
    field('thing').value = `${excepted.kind}.${excepted.resource}`;
    field('per').value = excepted.per || '30 days';
  }
  field('until').required = excepted !== undefined;
  const title = byId('limit-title');
  const verb = limitForm.querySelector('button[value=save]');
  if (title && verb) {
    title.textContent = excepted ? 'Except for a time' : 'Add a limit';
    verb.textContent = excepted ? 'Add the exception' : 'Add the limit';
  }
  limitForm.querySelector('[role=alert]')?.setAttribute('hidden', '');
  noLimit(field('unlimited'), field('amount'));
  followThing();
  limitDialog.showModal();
}

limitForm?.addEventListener('change', followThing);
limitForm?.addEventListener('submit', event => {
  event.preventDefault();
  const [kind = '', resource = ''] = field('thing').value.split('.');
  const what = field('what').value;
  const who = what === 'everyone' ? what : `${what}:${field('name').value.trim()}`;
  const per = kind === 'budget' ? field('per').value.trim() : '';
  const thing = { who, kind, resource, per, until: field('until').value };
  const amount = amountOf(resource, field('amount').value, field('unlimited').checked);
  const reason = field('reason').value.trim();
  const save = /** @type {HTMLElement} */ (limitForm.querySelector('button[value=save]'));
  void attempt(
    save,
    async () => {
      const done = await change(version, quotas => set(quotas, thing, amount, reason), {
        title: `Add a limit for ${who}?`,
        verb: 'Add the limit',
        done: `${who}: added.`,
        reason
      });
      if (done) {
        limitDialog?.close();
      }
    },
    alertIn(limitForm)
  );
});
byId('add-limit')?.addEventListener('click', () => openLimit());
for (const each of document.querySelectorAll('[data-el-opens=add-limit]')) {
  each.addEventListener('click', () => openLimit());
}

// ------------------------------------------------------------------------------ all of a file

const yamlDialog = /** @type {HTMLDialogElement | null} */ (byId('yaml-dialog'));
const yamlForm = yamlDialog?.querySelector('form') ?? null;
const yamlText = /** @type {HTMLTextAreaElement | null} */ (byId('yaml-text'));
byId('apply-yaml')?.addEventListener('click', () => yamlDialog?.showModal());
byId('yaml-file')?.addEventListener('change', async event => {
  const file = event.target instanceof HTMLInputElement ? event.target.files?.[0] : undefined;
  if (file && yamlText) {
    yamlText.value = await file.text();
  }
});
yamlForm?.addEventListener('submit', event => {
  event.preventDefault();
  const save = /** @type {HTMLElement} */ (yamlForm.querySelector('button[value=save]'));
  void attempt(
    save,
    async () => {
      const { value } = await askPage('quotas/read', { text: yamlText?.value ?? '' });
      const replace = (/** @type {any} */ quotas) => {
        for (const name of Object.keys(quotas)) {
          delete quotas[name];
        }
        Object.assign(quotas, value);
      };
      await change(version, replace, {
        title: 'Apply this YAML?',
        verb: 'Apply it',
        done: 'The quotas are those of the YAML.',
        by: 'apply',
        always: true
      });
    },
    alertIn(yamlForm)
  );
});

for (const each of document.querySelectorAll('[data-el-close]')) {
  each.addEventListener('click', () => each.closest('dialog')?.close());
}
sayAgain(leftToSay());
