/** The history of the quotas: going back to any version. */

import { leftToSay } from './dialog.js';
import { attempt, goBack, sayAgain } from './quota-change.js';

const now = document.getElementById('history')?.dataset.version ?? '0';
sayAgain(leftToSay());
for (const button of document.querySelectorAll('button.el-back')) {
  if (button instanceof HTMLElement) {
    const version = Number(button.dataset.version);
    button.addEventListener('click', () => void attempt(button, () => goBack(version, `"${now}"`)));
  }
}
