/**
 * The kernels of this server, the largest first, and what can be done with them.
 */
import type { LabIcon } from '@jupyterlab/ui-components';
import { closeIcon, refreshIcon, stopIcon } from '@jupyterlab/ui-components';
import * as React from 'react';

import { lasted } from '../runs/words';
import type { INamedKernel } from './kernels';
import { interrupt, restart, shutDown } from './kernels';
import type { IServices } from './services';
import type { KernelUsage, Sample } from './types';
import { bySize, cores, nameOf, size } from './words';

interface IProps {
  sample: Sample;
  services: IServices;
}

export function KernelsView({ sample, services }: IProps): React.ReactElement {
  const { manager, notebooks, trans } = services;
  const current = notebooks.currentWidget?.sessionContext.session?.kernel?.id;
  const known = new Set(sample.kernels.map(({ kernel_id }) => kernel_id));
  const foreign = [...manager.sessions.running()].filter(
    ({ kernel }) => kernel && !known.has(kernel.id)
  );
  if (known.size + foreign.length === 0) {
    return <p>{trans.__('No kernel is running. Open a notebook to start one.')}</p>;
  }
  return (
    <ul className="jp-ElementKernels">
      {bySize(sample.kernels).map(usage => (
        <Kernel
          key={usage.kernel_id}
          id={usage.kernel_id}
          name={nameOf(usage, trans)}
          path={usage.notebook}
          isCurrent={usage.kernel_id === current}
          services={services}
        >
          {factsOf(usage, services)}
        </Kernel>
      ))}
      {foreign.map(({ kernel, name, path, type }) => (
        <Kernel
          key={kernel!.id}
          id={kernel!.id}
          name={name || kernel!.name}
          path={type === 'notebook' ? path : null}
          isCurrent={kernel!.id === current}
          services={services}
        >
          {trans.__('No details from this kernel.')}
        </Kernel>
      ))}
    </ul>
  );
}

function factsOf(usage: KernelUsage, { trans }: IServices): string {
  const facts = [
    trans.__('CPU %1', cores(usage.cpu_cores)),
    trans.__('memory %1', size(usage.memory_bytes))
  ];
  if (usage.gpu_memory_bytes !== null) {
    facts.push(trans.__('GPU %1', size(usage.gpu_memory_bytes)));
  }
  if (usage.execution_state === 'busy') {
    facts.push(trans.__('busy'));
  } else if (usage.idle_seconds !== null) {
    facts.push(trans.__('idle for %1', lasted(Math.floor(usage.idle_seconds), trans)));
  }
  return facts.join(' · ');
}

function Kernel({
  id,
  name,
  path,
  isCurrent,
  services,
  children
}: INamedKernel & {
  /** Of the notebook that works with it. */
  path: string | null;
  isCurrent: boolean;
  services: IServices;
  children: React.ReactNode;
}): React.ReactElement {
  const { commands, trans } = services;
  const kernel = { id, name };
  return (
    <li aria-current={isCurrent ? 'true' : undefined}>
      <div className="jp-ElementKernels-name">
        {path === null ? (
          <span>{name}</span>
        ) : (
          <button
            type="button"
            title={path}
            onClick={() => void commands.execute('docmanager:open', { path })}
          >
            {name}
          </button>
        )}
        {isCurrent ? <em>{trans.__('this notebook')}</em> : null}
      </div>
      <div className="jp-ElementKernels-acts">
        <IconButton
          icon={stopIcon}
          label={trans.__('Interrupt %1', name)}
          onClick={() => void interrupt(kernel, services)}
        />
        <IconButton
          icon={refreshIcon}
          label={trans.__('Restart the kernel of %1…', name)}
          onClick={() => void restart(kernel, services)}
        />
        <IconButton
          icon={closeIcon}
          label={trans.__('Shut down the kernel of %1…', name)}
          onClick={() => void shutDown(kernel, services)}
        />
      </div>
      <div className="jp-ElementAside">{children}</div>
    </li>
  );
}

function IconButton({
  icon,
  label,
  onClick
}: {
  icon: LabIcon;
  label: string;
  onClick: () => void;
}): React.ReactElement {
  return (
    <button
      type="button"
      className="jp-ElementIconButton"
      title={label}
      aria-label={label}
      onClick={onClick}
    >
      <icon.react tag="span" aria-hidden="true" />
    </button>
  );
}
