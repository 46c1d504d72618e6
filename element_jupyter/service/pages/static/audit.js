/** Looking through the whole chain when somebody wants to know now. */

import { attempt } from './dialog.js';
import { ask } from './rest.js';

const button = document.getElementById('check-now');
button?.addEventListener('click', () => {
  void attempt(button, async () => {
    button.textContent = 'Checking…';
    try {
      await ask('/audit/verification');
    } finally {
      button.textContent = 'Check all now';
    }
    window.location.reload();
  });
});
