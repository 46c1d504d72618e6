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

/** A calendar with a clock's hands in it. */
export const scheduleIcon = new LabIcon({
  name: 'element:schedule',
  svgstr: `<svg xmlns="http://www.w3.org/2000/svg" width="16" viewBox="0 0 24 24">
  <g class="jp-icon3" fill="#616161">
    <path d="M7 1.5v2H4.5A1.5 1.5 0 0 0 3 5v15a1.5 1.5 0 0 0 1.5 1.5h15A1.5 1.5 0 0 0 21 20V5a1.5 1.5 0 0 0-1.5-1.5H17v-2h-2v2H9v-2zM5 9h14v10.5H5z"/>
    <path d="M11 10.5v4.4l3.2 2 1-1.6-2.3-1.4v-3.4z"/>
  </g>
</svg>`
});

/** A list whose first line has a tick. */
export const jobsIcon = new LabIcon({
  name: 'element:jobs',
  svgstr: `<svg xmlns="http://www.w3.org/2000/svg" width="16" viewBox="0 0 24 24">
  <g class="jp-icon3" fill="#616161">
    <path d="M3.4 6.6 2 8l3.2 3.2L10 6.4 8.6 5 5.2 8.4zM12 7h10v2H12zM12 13h10v2H12zM12 19h10v2H12zM4 13h4v2H4zM4 19h4v2H4z"/>
  </g>
</svg>`
});

/** The dial of a tachometer. */
export const resourcesIcon = new LabIcon({
  name: 'element:resources',
  svgstr: `<svg xmlns="http://www.w3.org/2000/svg" width="16" viewBox="0 0 24 24">
  <g class="jp-icon3" fill="#616161">
    <path d="M12 4a10 10 0 0 0-8.2 15.7l.3.5h15.8l.3-.5A10 10 0 0 0 12 4zm6.8 14.2H5.2A8 8 0 1 1 18.8 18.2z"/>
    <path d="m16.9 8.4-6 4.3a2.1 2.1 0 1 0 2.4 2.4z"/>
  </g>
</svg>`
});
