/**
 * Two texts, line by line.
 */

/** A line that both texts have, or only the one before, or only the one after. */
export interface ILine {
  readonly mark: ' ' | '-' | '+';
  readonly text: string;
}

/** How many pairs of lines are compared; of longer texts, all between what they share differs. */
const MOST_PAIRS = 4_000_000;

/** What to take away from one text and to add, so that it becomes the other. */
export function diffLines(before: readonly string[], after: readonly string[]): ILine[] {
  const shorter = Math.min(before.length, after.length);
  let head = 0;
  while (head < shorter && before[head] === after[head]) {
    head += 1;
  }
  let tail = 0;
  while (
    tail < shorter - head &&
    before[before.length - 1 - tail] === after[after.length - 1 - tail]
  ) {
    tail += 1;
  }
  const same = (text: string): ILine => ({ mark: ' ', text });
  return [
    ...before.slice(0, head).map(same),
    ...between(before.slice(head, before.length - tail), after.slice(head, after.length - tail)),
    ...before.slice(before.length - tail).map(same)
  ];
}

/** The lines that differ, and a few around each; null where others are left out. */
export function hunksOf(lines: readonly ILine[], around = 2): (ILine | null)[] {
  const shown = lines.map((_, at) =>
    lines.slice(Math.max(0, at - around), at + around + 1).some(({ mark }) => mark !== ' ')
  );
  return lines.flatMap((line, at) => (shown[at] ? [line] : shown[at - 1] ? [null] : []));
}

/** By the longest series of lines that both have. */
function between(before: readonly string[], after: readonly string[]): ILine[] {
  const removed = (text: string): ILine => ({ mark: '-', text });
  const added = (text: string): ILine => ({ mark: '+', text });
  if (before.length * after.length > MOST_PAIRS) {
    return [...before.map(removed), ...after.map(added)];
  }
  const width = after.length + 1;
  // how many lines the rests from here have in common
  const common = new Uint32Array((before.length + 1) * width);
  for (let i = before.length - 1; i >= 0; i--) {
    for (let j = after.length - 1; j >= 0; j--) {
      common[i * width + j] =
        before[i] === after[j]
          ? common[(i + 1) * width + j + 1] + 1
          : Math.max(common[(i + 1) * width + j], common[i * width + j + 1]);
    }
  }
  const lines: ILine[] = [];
  let [i, j] = [0, 0];
  while (i < before.length && j < after.length) {
    if (before[i] === after[j]) {
      lines.push({ mark: ' ', text: before[i] });
      i += 1;
      j += 1;
    } else if (common[(i + 1) * width + j] >= common[i * width + j + 1]) {
      lines.push(removed(before[i]));
      i += 1;
    } else {
      lines.push(added(after[j]));
      j += 1;
    }
  }
  return [...lines, ...before.slice(i).map(removed), ...after.slice(j).map(added)];
}
