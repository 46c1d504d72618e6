/**
 * One question to the server, asked when a view is first shown.
 */
import * as React from 'react';

import { problemOf } from '../../api/client';
import type { Problem } from '../../api/types';

/** What a question has come to. */
export type Asked<Answer> =
  { kind: 'loading' } | { kind: 'failed'; problem: Problem } | { kind: 'ready'; answer: Answer };

/** Ask once, and again when that is wanted; what comes after the view is gone is dropped. */
export function useAnswer<Answer>(ask: () => Promise<Answer>): [Asked<Answer>, () => void] {
  const [asked, set] = React.useState<Asked<Answer>>({ kind: 'loading' });
  const [times, setTimes] = React.useState(0);
  React.useEffect(() => {
    let gone = false;
    set({ kind: 'loading' });
    ask().then(
      answer => gone || set({ kind: 'ready', answer }),
      (reason: unknown) => gone || set({ kind: 'failed', problem: problemOf(reason) })
    );
    return () => {
      gone = true;
    };
  }, [times]);
  return [asked, () => setTimes(times + 1)];
}
