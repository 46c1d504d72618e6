/**
 * The environment of one notebook, as the server tells it.
 */
import { VDomModel } from '@jupyterlab/ui-components';
import { Poll } from '@lumino/polling';
import type { ISignal } from '@lumino/signaling';
import { Signal } from '@lumino/signaling';

import { ElementProblem, problemOf } from '../api/client';
import type { BuildEvent, Failure, NotebookEnvironment, Origin, Problem } from '../api/types';
import type { IElementClient } from '../tokens';

export { problemOf };

/** What is known. */
export type State =
  | { kind: 'loading' }
  /** The server sets up no environments. */
  | { kind: 'off' }
  /** The notebook has another kernel than the ordinary one, which brings its own packages. */
  | { kind: 'foreign'; kernel: string }
  | { kind: 'unknown'; problem: Problem }
  /** `stale` says why what is shown may be old. */
  | { kind: 'known'; environment: NotebookEnvironment; stale: Problem | null };

/** How a known environment stands: the one word of the indicator. */
export type Standing = 'ready' | 'missing' | 'building' | 'changed' | 'failed';

/** A build that is under way, or the last one. */
export interface IBuild {
  readonly id: string;
  readonly running: boolean;
  /** Where it is; null until it has told. */
  readonly last: BuildEvent | null;
  readonly log: readonly string[];
}

/** The kernel of the notebook. */
export interface IKernel {
  readonly id: string;
  readonly name: string;
  readonly displayName: string;
}

/** What a person has asked for, while it is under way. */
export type Action = 'build' | 'update' | 'cancel' | 'trust' | 'add' | 'use';

/** The kernel that gets an environment; every other one is started as it says. */
const ORDINARY_KERNEL = 'python3';

const LONGEST_LOG = 2_000;

/** A build is looked at when its stream has said nothing for as long as this, in milliseconds. */
export const QUIET = 10_000;

/** How long a build that has ended may still be told as under way, in milliseconds. */
const PAUSE = 2_000;

/**
 * One state, and what may be done about it. It follows a build as soon as it knows of one.
 */
export class EnvironmentModel extends VDomModel {
  constructor(
    private readonly _client: IElementClient,
    private _path: string
  ) {
    super();
    this._look = new Poll({
      name: '@element/labextension:environment-build',
      auto: false,
      frequency: { interval: QUIET, max: 60_000, backoff: true },
      standby: 'when-hidden',
      factory: () => this._lookAtBuild()
    });
  }

  get state(): State {
    return this._state;
  }

  get build(): IBuild | null {
    return this._build;
  }

  get busy(): Action | null {
    return this._busy;
  }

  /** Why the last action did not succeed. */
  get refusal(): { action: Action; problem: Problem } | null {
    return this._refusal;
  }

  get path(): string {
    return this._path;
  }

  /** When the server was last asked with success, in milliseconds since 1970. */
  get updatedAt(): number {
    return this._updatedAt;
  }

  /** What is known of the environment, whatever else is. */
  get environment(): NotebookEnvironment | null {
    return this._state.kind === 'known' ? this._state.environment : null;
  }

  /** Why there is no environment, or why the last build of it failed. */
  get failure(): Failure | null {
    return this._build?.running ? null : (this.environment?.failure ?? this._lastFailure);
  }

  /** One word for the environment; null while there is nothing to say. */
  get standing(): Standing | null {
    const { environment } = this;
    if (!environment) {
      return null;
    }
    if (this._build?.running || environment.state === 'building') {
      return 'building';
    }
    const { state } = environment;
    if (state === 'failed' || (state === 'missing' && this._lastFailure)) {
      return 'failed';
    }
    const runs = environment.kernel_environment_id;
    const other = runs !== null ? runs !== environment.environment_id : this._broken !== null;
    return other ? 'changed' : state;
  }

  /** Emits the id of each environment that a restart of the kernel would bring, once. */
  get outdated(): ISignal<this, string> {
    return this._outdated;
  }

  /** Emits when a build that was followed has made an environment. */
  get built(): ISignal<this, void> {
    return this._built;
  }

  dispose(): void {
    if (this.isDisposed) {
      return;
    }
    this._following?.abort();
    this._look.dispose();
    super.dispose();
  }

  /** The notebook has another path now. */
  async setPath(path: string): Promise<void> {
    if (path !== this._path) {
      this._path = path;
      await this.refresh();
    }
  }

  /** The notebook has another kernel now, or none. */
  async setKernel(kernel: IKernel | null): Promise<void> {
    if (kernel?.id !== this._kernel?.id) {
      this._broken = null;
    }
    this._kernel = kernel;
    await this.refresh();
  }

  /** The kernel starts anew; what it ran before is gone. */
  kernelRestarts(): void {
    this._broken = null;
  }

  /** Ask the server; asking while it is being asked asks once more. */
  async refresh(): Promise<void> {
    if (this._asking) {
      this._askAgain = true;
      return this._asking;
    }
    this._asking = (async () => {
      do {
        this._askAgain = false;
        await this._ask();
      } while (this._askAgain && !this.isDisposed);
    })().finally(() => (this._asking = null));
    return this._asking;
  }

  /** Build, or try again. */
  async start(options: { upgrade?: boolean } = {}): Promise<void> {
    await this._act(options.upgrade ? 'update' : 'build', () => this._start(options.upgrade));
  }

  async cancel(): Promise<void> {
    const build = this._build;
    if (build?.running) {
      await this._act('cancel', async () => {
        await this._client.call('delete', '/environments/builds/{build_id}', {
          path: { build_id: build.id }
        });
      });
    }
  }

  /** Record that the person trusts these, then build. */
  async trust(origins: Origin[]): Promise<void> {
    await this._act('trust', async () => {
      await this._client.call('post', '/environments/trust', {
        body: { path: this._path, origins }
      });
      await this._start();
    });
  }

  /**
   * Add requirements to the definition, then build.
   *
   * @param wrote - is told of the definition's file once it is written
   */
  async add(requirements: string[], wrote: (file: string) => Promise<void>): Promise<boolean> {
    return this._act('add', async () => {
      const { file } = await this._client.call('post', '/environments/requirements', {
        body: { path: this._path, requirements }
      });
      await wrote(file);
      await this._start();
    });
  }

  /** Change what the notebook points at, then look and build what is missing. */
  async use(change: () => Promise<void>): Promise<void> {
    await this._act('use', async () => {
      await change();
      await this.buildAhead();
    });
  }

  /** Build if something is missing, so that the next kernel need not wait. */
  async buildAhead(): Promise<void> {
    await this.refresh();
    if (this.environment?.state === 'missing' && !this._build?.running && !this._ahead) {
      this._ahead = true;
      await this._start().finally(() => (this._ahead = false));
    }
  }

  private async _act(action: Action, perform: () => Promise<void>): Promise<boolean> {
    if (this._busy !== null) {
      return false; // a double click is one click
    }
    this._busy = action;
    this._refusal = null;
    this.stateChanged.emit();
    try {
      await perform();
      return true;
    } catch (reason) {
      this._refusal = { action, problem: problemOf(reason) };
      return false;
    } finally {
      this._busy = null;
      this._changed();
    }
  }

  private async _start(upgrade = false): Promise<void> {
    const { build_id } = await this._client.call('post', '/environments/builds', {
      body: { path: this._path, upgrade }
    });
    this._follow(build_id);
    await this.refresh();
  }

  private async _ask(): Promise<void> {
    const kernel = this._kernel;
    if (kernel && kernel.name !== ORDINARY_KERNEL) {
      this._following?.abort();
      this._state = { kind: 'foreign', kernel: kernel.displayName };
      this._changed();
      return;
    }
    const path = this._path;
    try {
      const environment = await this._client.call('get', '/environments/of', { query: { path } });
      this._updatedAt = Date.now();
      this._learn(environment);
    } catch (reason) {
      if (path !== this._path) {
        return; // asked again already
      }
      const off = reason instanceof ElementProblem && reason.status === 404;
      const problem = problemOf(reason);
      this._state =
        off && problem.field !== 'path'
          ? { kind: 'off' }
          : this._state.kind === 'known'
            ? { ...this._state, stale: problem }
            : { kind: 'unknown', problem };
    }
    this._changed();
  }

  private _learn(environment: NotebookEnvironment): void {
    const before = this.environment;
    if (before && before.build_id !== environment.build_id) {
      this._lastFailure = null; // it was another definition's
    }
    this._state = { kind: 'known', environment, stale: null };
    if (environment.state === 'building') {
      void this._look.start();
      const id = environment.build_id;
      if (id !== null && (id !== this._build?.id || Date.now() > this._endedAt + PAUSE)) {
        this._follow(id);
      }
    }
    // a kernel that was started for what cannot be built tells why, and goes on doing so
    if (environment.state === 'failed' && this._kernel && !environment.kernel_environment_id) {
      this._broken = this._kernel.id;
    }
  }

  private _follow(id: string): void {
    if (this.isDisposed || (this._build?.running && this._build.id === id)) {
      return;
    }
    this._following?.abort();
    const following = (this._following = new AbortController());
    this._lastFailure = null;
    this._build = { id, running: true, last: null, log: [] };
    this._heardAt = Date.now();
    void this._look.start();
    void this._hear(id, following.signal).then(() => {
      if (this._following === following) {
        this._following = null;
        this._ended();
      }
    });
    this._changed();
  }

  private async _hear(id: string, signal: AbortSignal): Promise<void> {
    const events = this._client.follow('/environments/builds/{build_id}/events', {
      path: { build_id: id },
      signal
    });
    try {
      for await (const event of events) {
        if (signal.aborted) {
          return;
        }
        this._heardAt = Date.now();
        const log = event.message
          ? [...(this._build?.log ?? []).slice(1 - LONGEST_LOG), event.message]
          : (this._build?.log ?? []);
        this._build = { id, running: true, last: event, log };
        this.stateChanged.emit();
      }
    } catch {
      // the server knows no such build any more; what became of it, it says when it is asked
    }
  }

  private _ended(): void {
    if (this._build) {
      this._build = { ...this._build, running: false };
    }
    this._endedAt = Date.now();
    if (this.isDisposed) {
      return;
    }
    const { last } = this._build ?? {};
    this._lastFailure = last?.failure ?? null;
    void this.refresh().then(() => {
      if (this.isDisposed) {
        return;
      }
      if (this.standing !== 'building') {
        void this._look.stop();
      }
      if (last?.phase === 'ready') {
        this._built.emit();
      }
    });
  }

  /** In place of a stream that does not come through: ask how the build stands. */
  private async _lookAtBuild(): Promise<void> {
    if (this._build?.running && Date.now() - this._heardAt < QUIET) {
      return;
    }
    await this.refresh();
    if (this._state.kind !== 'known' || this._state.stale) {
      throw new Error('The server did not say how the build stands.'); // the poll backs off
    }
    if (this._state.environment.state !== 'building') {
      this._following?.abort();
      void this._look.stop();
    }
  }

  private _changed(): void {
    if (this.isDisposed) {
      return;
    }
    this.stateChanged.emit();
    const { environment } = this;
    const id = environment?.environment_id;
    if (
      this.standing === 'changed' &&
      environment?.state === 'ready' &&
      id &&
      !this._told.has(id)
    ) {
      this._told.add(id);
      this._outdated.emit(id);
    }
  }

  private _state: State = { kind: 'loading' };
  private _build: IBuild | null = null;
  private _busy: Action | null = null;
  private _refusal: { action: Action; problem: Problem } | null = null;
  private _kernel: IKernel | null = null;
  /** The kernel that only tells why there is no environment. */
  private _broken: string | null = null;
  private _lastFailure: Failure | null = null;
  private _asking: Promise<void> | null = null;
  private _askAgain = false;
  private _ahead = false;
  private _following: AbortController | null = null;
  private _heardAt = 0;
  private _endedAt = 0;
  private _updatedAt = 0;
  private readonly _look: Poll;
  private readonly _told = new Set<string>();
  private readonly _outdated = new Signal<this, string>(this);
  private readonly _built = new Signal<this, void>(this);
}
