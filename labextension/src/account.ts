/**
 * Who has signed in, what they are to which team, and which sizes there are.
 */
import type { components } from './api/schema';
import type { Answer, Operation } from './api/types';
import type { IElementClient } from './tokens';

type Schemas = components['schemas'];
export type Me = Schemas['Me'];
export type Level = Schemas['Level'];
export type OfferedSizes = Schemas['OfferedSizes'];

/** How long an answer is good for, in milliseconds. */
const FRESH = 60_000;

const LEVELS: readonly Level[] = ['viewer', 'member', 'lead'];

interface IAnswer {
  readonly at: number;
  readonly answer: Promise<unknown>;
}

const answers = new WeakMap<IElementClient, Map<string, IAnswer>>();

/** Ask once a minute at most; what failed is asked again. */
export function known<P extends '/me' | '/sizes'>(
  client: IElementClient,
  path: P
): Promise<Answer<Operation<'get', P>>> {
  const kept = answers.get(client) ?? new Map<string, IAnswer>();
  answers.set(client, kept);
  const last = kept.get(path);
  if (last && Date.now() - last.at < FRESH) {
    return last.answer as never;
  }
  const answer = client.call('get', path);
  kept.set(path, { at: Date.now(), answer });
  answer.catch(() => kept.delete(path));
  return answer as never;
}

/** Whether they are that in a team, or more; while it is not known who they are, the server says. */
export function isAtLeast(level: Level, me: Me | null | undefined, team: string): boolean {
  return !me || me.admin || LEVELS.indexOf(me.teams[team]) >= LEVELS.indexOf(level);
}

/** The teams that they may run in. */
export function teamsOf(me: Me | null): string[] {
  return me ? Object.keys(me.teams).filter(team => isAtLeast('member', me, team)) : [];
}
