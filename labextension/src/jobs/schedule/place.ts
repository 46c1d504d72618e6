/**
 * At which size and in which team something is to run: what there is, and what is proposed.
 */
import type { Me, OfferedSizes } from '../../account';
import { known, teamsOf } from '../../account';
import { problemOf } from '../../api/client';
import type { components } from '../../api/schema';
import type { IElementClient } from '../../tokens';
import type { Fetched } from './preview';

export type Size = OfferedSizes['sizes'][number];

type Advice = components['schemas']['Advice'];

/** What there is to choose from. */
export class Places {
  sizes: Fetched<OfferedSizes> = { kind: 'loading' };
  me: Me | null = null;

  /** Ask; nothing is thrown, since all works with what is usual too. */
  async load(client: IElementClient): Promise<void> {
    const [sizes, me] = await Promise.allSettled([known(client, '/sizes'), known(client, '/me')]);
    this.sizes =
      sizes.status === 'fulfilled'
        ? { kind: 'ready', value: sizes.value }
        : { kind: 'failed', problem: problemOf(sizes.reason) };
    this.me = me.status === 'fulfilled' ? me.value : null;
  }

  /** The teams that may be chosen; none when there is nothing to choose. */
  get teams(): string[] {
    const teams = teamsOf(this.me);
    return teams.length > 1 ? teams.sort() : [];
  }

  /** The first of these teams that they may run in, else another; undefined when not known. */
  teamOf(...wanted: (string | undefined)[]): string | undefined {
    const teams = teamsOf(this.me);
    return [...wanted, this.me?.name, ...teams].find(team => team && teams.includes(team));
  }

  /** The size of that name; null when there is none. */
  named(name: string | null | undefined): Size | null {
    const { sizes } = this;
    return (sizes.kind === 'ready' && sizes.value.sizes.find(size => size.name === name)) || null;
  }

  /** The smallest size in which runs like those before fit; null when that cannot be said. */
  advised(advice: Advice | null): Size | null {
    const { sizes } = this;
    const memory = advice?.memory_bytes;
    if (sizes.kind !== 'ready' || !memory) {
      return null;
    }
    const enough = sizes.value.sizes.filter(({ memory_bytes }) => memory_bytes >= memory);
    const quick = enough.filter(({ cpu }) => cpu >= (advice.cpu_cores ?? 0));
    const [first] = (quick.length ? quick : enough).sort(bySize);
    return first ?? null;
  }
}

/** Whether a size fits into what nobody uses now. */
export function isFree(size: Size, { free }: OfferedSizes): boolean {
  return size.cpu <= free.cpu && size.memory_bytes <= free.memory_bytes && size.gpu <= free.gpu;
}

function bySize(one: Size, other: Size): number {
  const [a, b] = [one, other].map(({ gpu, price_per_hour, memory_bytes, cpu }) => [
    gpu,
    Number(price_per_hour),
    memory_bytes,
    cpu
  ]);
  return a.map((each, at) => each - b[at]).find(Boolean) ?? 0;
}
