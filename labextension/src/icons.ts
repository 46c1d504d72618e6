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
