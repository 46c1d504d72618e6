/**
 * What a run has used over time, out of its events.
 */
import type { IPoint } from '../charts/line';
import type { RunEvent } from './events';

type Usage = Extract<RunEvent, { kind: 'usage' }>;

/** One value over time: its points, the highest, and the average over the time. */
export interface ISeries {
  readonly points: readonly IPoint[];
  readonly highest: number;
  readonly average: number;
}

/** Takes the events of one run, in order and each once. */
export class RunUsage {
  take(event: RunEvent): void {
    if (event.kind === 'run_started') {
      this._told = [];
      this._began = Date.parse(event.at);
    } else if (event.kind === 'usage') {
      this._told.push(event);
    }
  }

  /** Cores. */
  get cpu(): ISeries | null {
    return this._series(({ cpu_cores }) => cpu_cores);
  }

  /** Bytes. */
  get memory(): ISeries | null {
    return this._series(({ memory_bytes }) => memory_bytes);
  }

  /** Bytes; null where none was used. */
  get gpuMemory(): ISeries | null {
    const series = this._series(({ gpu_memory_bytes }) => gpu_memory_bytes);
    return series?.highest ? series : null;
  }

  private _series(valueOf: (event: Usage) => number | null): ISeries | null {
    const points: IPoint[] = [];
    let highest = 0;
    let sum = 0;
    let span = 0;
    let before = this._began;
    for (const event of this._told) {
      const value = valueOf(event);
      const at = Date.parse(event.at);
      if (value !== null) {
        points.push({ at, value });
        highest = Math.max(highest, value);
        // they are further apart the longer a run takes
        sum += value * (at - before);
        span += at - before;
      }
      before = at;
    }
    return points.length ? { points, highest, average: span > 0 ? sum / span : highest } : null;
  }

  private _told: Usage[] = [];
  private _began = 0;
}
