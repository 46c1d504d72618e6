/** @jest-environment jsdom */
import { ReactWidget } from '@jupyterlab/ui-components';
import { MessageLoop } from '@lumino/messaging';
import { Widget } from '@lumino/widgets';
import * as React from 'react';

import type { ILineProps } from '../src/charts/line';
import { Line } from '../src/charts/line';

const SIZE = { width: 104, height: 104, label: 'Memory: at most 4 GB', format: String };

async function drawn(props: Partial<ILineProps>): Promise<HTMLElement> {
  const widget = ReactWidget.create(React.createElement(Line, { points: [], ...SIZE, ...props }));
  Widget.attach(widget, document.body);
  MessageLoop.flush();
  await widget.renderPromise;
  return widget.node;
}

const at = (...values: number[]) => values.map((value, second) => ({ at: second * 1000, value }));
const lineOf = (node: HTMLElement) => node.querySelector('polyline')?.getAttribute('points');

it('draws from nought to the highest value, and says what it shows', async () => {
  const node = await drawn({ points: at(0, 4, 2) });
  expect(lineOf(node)).toBe('2,102 52,14 102,58');
  expect(node.querySelector('[role="img"]')?.getAttribute('aria-label')).toBe(SIZE.label);
  expect(node.textContent).toBe('4');
});

it('draws the limit once a value has come near to it', async () => {
  expect((await drawn({ points: at(1, 4), limit: 9 })).querySelector('.jp-mod-limit')).toBeNull();
  const near = await drawn({ points: at(1, 4), limit: 8 });
  expect(near.querySelector('.jp-mod-limit')?.getAttribute('y1')).toBe('14');
  expect(lineOf(near)).toBe('2,91 102,58');
});

it('loses no peak among more values than there are pixels', async () => {
  const values = new Array<number>(100_000).fill(1);
  values[54_321] = 2;
  const points = lineOf(await drawn({ points: at(...values) }))?.split(' ') ?? [];
  expect(points.length).toBeLessThanOrEqual(101);
  expect(points.filter(point => point.endsWith(',14'))).toHaveLength(1);
});

it('draws nothing of nothing, and a dot of one value', async () => {
  expect((await drawn({})).querySelector('svg')?.childElementCount).toBe(0);
  expect((await drawn({ points: at(3) })).querySelector('circle')).not.toBeNull();
});

it('is a button when there is something to do', async () => {
  let clicks = 0;
  const node = await drawn({ points: at(1, 2), onClick: () => (clicks += 1) });
  const button = node.querySelector('button');
  expect(button?.getAttribute('aria-label')).toBe(SIZE.label);
  button?.click();
  expect(clicks).toBe(1);
});
