import { LabIcon } from '@jupyterlab/ui-components';

/** A play sign with a clock's rim around it: runs elsewhere, goes on without this window. */
export const runInBackgroundIcon = new LabIcon({
  name: 'element:run-in-background',
  svgstr: `<svg xmlns="http://www.w3.org/2000/svg" width="16" viewBox="0 0 24 24">
  <g class="jp-icon3" fill="#616161">
    <path d="M12 2a10 10 0 1 0 10 10h-2a8 8 0 1 1-8-8z"/>
    <path d="M10 7.5v9l7-4.5z"/>
    <circle cx="16.6" cy="3.9" r="1.3"/>
    <circle cx="20.2" cy="7.5" r="1.3"/>
  </g>
</svg>`
});

/** A box that is open, with something in it: what a notebook has to work with. */
export const environmentIcon = new LabIcon({
  name: 'element:environment',
  svgstr: `<svg xmlns="http://www.w3.org/2000/svg" width="16" viewBox="0 0 24 24">
  <g class="jp-icon3" fill="#616161">
    <path d="M12 1.5 3 6v12l9 4.5 9-4.5V6zm0 2.2L17.9 6.7 12 9.6 6.1 6.7zM5 8.3l6 3v8.5l-6-3zm8 11.5v-8.5l6-3v8.5z"/>
  </g>
</svg>`
});
