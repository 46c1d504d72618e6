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
export async function interrupt(kernel: INamedKernel, services: IServices): Promise<void> {
  const { manager, trans } = services;
  await attempt(trans.__('%1 could not be interrupted.', kernel.name), () =>
    KernelAPI.interruptKernel(kernel.id, manager.serverSettings)
  );
}

/** Restart a kernel, if the person agrees. */
export async function restart(kernel: INamedKernel, services: IServices): Promise<void> {
  const { manager, notebooks, trans } = services;
  const agreed = await agree(
    trans.__('Restart the kernel of %1?', kernel.name),
    trans.__('All its variables are lost. The notebook itself stays as it is.'),
    trans.__('Restart kernel'),
    services
  );
  if (agreed) {
    const open = notebooks.find(({ sessionContext: { session } }) => {
      return session?.kernel?.id === kernel.id;
    });
    await attempt(trans.__('The kernel of %1 was not restarted.', kernel.name), () =>
      open
        ? open.sessionContext.restartKernel()
        : KernelAPI.restartKernel(kernel.id, manager.serverSettings)
    );
  }
}

/** Shut a kernel down, if the person agrees. */
export async function shutDown(kernel: INamedKernel, services: IServices): Promise<void> {
  const { manager, trans } = services;
  const agreed = await agree(
    trans.__('Shut down the kernel of %1?', kernel.name),
    trans.__('All its variables are lost. The notebook itself stays as it is.'),
    trans.__('Shut down kernel'),
    services
  );
  if (agreed) {
    const session = [...manager.sessions.running()].find(each => each.kernel?.id === kernel.id);
    await attempt(trans.__('The kernel of %1 was not shut down.', kernel.name), () =>
      session ? manager.sessions.shutdown(session.id) : manager.kernels.shutdown(kernel.id)
    );
  }
}

async function agree(
  title: string,
  body: string,
  label: string,
  { trans }: IServices
): Promise<boolean> {
  const { button } = await showDialog({
    title,
    body,
    buttons: [Dialog.cancelButton({ label: trans.__('Cancel') }), Dialog.warnButton({ label })]
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
