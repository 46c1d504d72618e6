/**
 * What a person does with a kernel from the panel.
 */
import { Dialog, Notification, showDialog } from '@jupyterlab/apputils';
import { KernelAPI } from '@jupyterlab/services';

import { problemOf } from '../api/client';
import type { IServices } from './services';

/** A kernel of this server, and what people call it. */
export interface INamedKernel {
  readonly id: string;
  readonly name: string;
}

/** Interrupt what a kernel executes. */
export async function interrupt({ id, name }: INamedKernel, services: IServices): Promise<void> {
  const { manager, trans } = services;
  await attempt(trans.__('%1 could not be interrupted.', name), () =>
    KernelAPI.interruptKernel(id, manager.serverSettings)
  );
}

/** Restart a kernel, if the person agrees. */
export async function restart({ id, name }: INamedKernel, services: IServices): Promise<void> {
  const { manager, notebooks, trans } = services;
  const title = trans.__('Restart the kernel of %1?', name);
  if (await agree(title, trans.__('Restart kernel'), services)) {
    const open = notebooks.find(each => each.sessionContext.session?.kernel?.id === id);
    await attempt(trans.__('The kernel of %1 was not restarted.', name), () =>
      open
        ? open.sessionContext.restartKernel()
        : KernelAPI.restartKernel(id, manager.serverSettings)
    );
  }
}

/** Shut a kernel down, if the person agrees. */
export async function shutDown({ id, name }: INamedKernel, services: IServices): Promise<void> {
  const { manager, trans } = services;
  const title = trans.__('Shut down the kernel of %1?', name);
  if (await agree(title, trans.__('Shut down kernel'), services)) {
    const session = [...manager.sessions.running()].find(({ kernel }) => kernel?.id === id);
    await attempt(trans.__('The kernel of %1 was not shut down.', name), () =>
      session ? manager.sessions.shutdown(session.id) : manager.kernels.shutdown(id)
    );
  }
}

async function agree(title: string, label: string, { trans }: IServices): Promise<boolean> {
  const { button } = await showDialog({
    title,
    body: trans.__('All its variables are lost. The notebook itself stays as it is.'),
    buttons: [Dialog.cancelButton(), Dialog.warnButton({ label })]
  });
  return button.accept;
}

async function attempt(failed: string, perform: () => Promise<void>): Promise<void> {
  try {
    await perform();
  } catch (reason) {
    Notification.error(`${failed} ${problemOf(reason).message}`, { autoClose: false });
  }
}
