/** What every page has: times in the reader's own zone, and choices that take effect at once. */

const SHORT = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'short' });
const LONG = new Intl.DateTimeFormat(undefined, { dateStyle: 'full', timeStyle: 'long' });

/** Show the times inside an element as the reader's clock has them. @param {ParentNode} within */
export function localTimes(within) {
  for (const each of within.querySelectorAll('time[datetime]')) {
    const at = new Date(each.getAttribute('datetime') ?? '');
    if (!Number.isNaN(at.valueOf())) {
      each.textContent = SHORT.format(at);
      each.setAttribute('title', LONG.format(at));
    }
  }
}

document.documentElement.classList.add('el-scripted');
localTimes(document);
for (const each of document.querySelectorAll('select[data-el-submit]')) {
  const form = each.closest('form');
  const button = form?.querySelector('button:not([type])');
  if (!form?.querySelector('input[type=search]')) {
    button?.classList.add('visually-hidden-focusable');
  }
  each.addEventListener('change', () => form?.requestSubmit());
}
