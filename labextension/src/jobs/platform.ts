/**
 * What runs notebooks, started when it is needed.
 */
import { PageConfig } from '@jupyterlab/coreutils';

import { ElementProblem } from '../api/client';
import type { Problem } from '../api/types';
import type { IElementClient } from '../tokens';

/** Whether this problem is that nothing runs notebooks, and something can be started that does. */
export function canStart({ code }: Problem): boolean {
  return code === 'unavailable' && PageConfig.getOption('elementStartsPlatform') === 'true';
}

/**
 * Do what needs the platform; where none is running, start what runs notebooks, and do it again.
 */
export async function withPlatform<T>(client: IElementClient, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (reason) {
    if (!(reason instanceof ElementProblem && reason.problem.code === 'unavailable')) {
      throw reason;
    }
    if (reason.status !== 503) {
      throw reason; // the Jupyter server itself did not answer
    }
  }
  await client.call('post', '/platform', {});
  return work();
}
