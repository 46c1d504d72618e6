import { isAtLeast, known, teamsOf } from '../src/account';
import type { Me } from '../src/account';
import type { IElementClient } from '../src/tokens';

const me = (teams: Me['teams'], admin = false): Me => ({ name: 'ada', admin, hub: true, teams });

function asking(...answers: unknown[]): { client: IElementClient; asked: string[] } {
  const asked: string[] = [];
  const call = async (verb: string, path: string) => {
    asked.push(path);
    const answer = answers.shift();
    if (answer instanceof Error) {
      throw answer;
    }
    return answer;
  };
  return { client: { call } as never, asked };
}

describe('what is known of the person', () => {
  afterEach(() => jest.useRealTimers());

  it('is asked for once a minute, whoever wants it', async () => {
    jest.useFakeTimers();
    const { client, asked } = asking('one', 'two', 'three');

    expect(await Promise.all([known(client, '/me'), known(client, '/me')])).toEqual(['one', 'one']);
    expect(await known(client, '/sizes')).toBe('two');
    jest.advanceTimersByTime(60_001);
    expect(await known(client, '/me')).toBe('three');
    expect(asked).toEqual(['/me', '/sizes', '/me']);
  });

  it('is asked for again after it could not be said', async () => {
    const { client } = asking(new Error('away'), 'there');

    await expect(known(client, '/me')).rejects.toThrow('away');
    expect(await known(client, '/me')).toBe('there');
  });
});

it.each([
  ['viewer', 'viewer', true],
  ['viewer', 'member', false],
  ['member', 'lead', false],
  ['lead', 'member', true],
  [undefined, 'viewer', false]
] as const)('a %s is at least a %s: %s', (held, wanted, expected) => {
  expect(isAtLeast(wanted, me(held ? { ml: held } : {}), 'ml')).toBe(expected);
});

it('who administers may all, and who is not known yet is told by the server', () => {
  expect(isAtLeast('lead', me({}, true), 'ml')).toBe(true);
  expect(isAtLeast('lead', null, 'ml')).toBe(true);
});

it('runs belong to teams in which the person may run', () => {
  expect(teamsOf(me({ ada: 'lead', ml: 'member', ops: 'viewer' }))).toEqual(['ada', 'ml']);
  expect(teamsOf(null)).toEqual([]);
});
