/**
 * From what is typed to a run or a job, with all that is to be known before.
 */
import type { NotebookPanel } from '@jupyterlab/notebook';
import { VDomModel } from '@jupyterlab/ui-components';
import { UUID } from '@lumino/coreutils';
import { Signal } from '@lumino/signaling';

import { problemOf } from '../../api/client';
import type { components } from '../../api/schema';
import type { Inspection, Parameter, Problem } from '../../api/types';
import { EnvironmentModel } from '../../environments/model';
import { originOf } from '../origin';
import type { Quota } from '../../quota';
import { QuotaModel } from '../../quota';
import type { IElementClient } from '../../tokens';
import type { IServices } from '../services';
import { documentOf, kernelOf } from './document';
import type { Faults, IForm } from './form';
import {
  changedJob,
  emptyForm,
  faultsOf,
  fieldsOf,
  formOf,
  givenOf,
  jobOf,
  placed,
  runOf,
  valuesOf,
  withGiven
} from './form';
import type { Fetched, Preview } from './preview';
import { PreviewModel } from './preview';
import type { Size } from './place';
import { Places } from './place';
import type { IGiven } from './remembered';
import { remembered } from './remembered';
import type { Accepted, IExists, Sent } from './sending';
import { Interrupted, Left, Sending } from './sending';
import type { ITyped } from './values';
import { typedOf } from './values';
import type { IWhen } from './when';
import { scheduleOf } from './when';

type Advice = components['schemas']['Advice'];
type StoredJob = components['schemas']['StoredJob'];

/** What the dialog is about: a notebook (open in a panel, or not), or a job `team/name` to edit. */
export type Subject = { path: string; panel: NotebookPanel | null } | { job: string };

/** How the dialog stands. */
export type State =
  /** The job that is to be edited is fetched. */
  | { kind: 'loading' }
  /** There is nothing to edit. */
  | { kind: 'failed'; problem: Problem }
  | { kind: 'editing' }
  | { kind: 'submitting' }
  /** The last submission did not succeed. */
  | { kind: 'refused'; problem: Problem }
  | IExists;

/** What was typed for notebooks, by path, in dialogs that had to be closed before they could send. */
const unsent = new Map<string, IForm>();

/** What the dialog shows and does; one for each time that it is opened. */
export class ScheduleModel extends VDomModel {
  readonly places = new Places();

  constructor(
    private readonly _services: IServices,
    subject: Subject
  ) {
    super();
    this._sending = new Sending(_services);
    this._preview = new PreviewModel(_services.client);
    this._preview.stateChanged.connect(this._changed, this);
    this._quota = new QuotaModel(_services.client, () => this._changed());
    if ('path' in subject) {
      this._state = { kind: 'editing' };
      this._turnTo(subject.path, subject.panel);
      this._form = unsent.get(subject.path) ?? this._form;
      unsent.delete(subject.path);
    } else {
      this._jobId = subject.job;
    }
    void this.load();
  }

  get client(): IElementClient {
    return this._services.client;
  }

  get state(): State {
    return this._state;
  }

  get form(): IForm {
    return this._form;
  }

  /** The job that is edited, as `team/name`. */
  get jobId(): string | null {
    return this._jobId;
  }

  /** The job that is edited, once it is known. */
  get stored(): StoredJob | null {
    return this._stored;
  }

  /** The notebook's path as the server knows it; null when it is not known where a job's lies. */
  get path(): string | null {
    return this._path;
  }

  get inspection(): Fetched<Inspection> {
    return this._inspection;
  }

  /** What the chosen schedule will do. */
  get preview(): Fetched<Preview> {
    return this._preview.state;
  }

  get environment(): EnvironmentModel | null {
    return this._environment;
  }

  /** The jobs that a job may wait for. */
  get jobs(): readonly string[] {
    return this._jobs;
  }

  /** The parameters that may be given, in the notebook's order. */
  get parameters(): readonly Parameter[] {
    return this._parameters;
  }

  /** Whether there are changes in the editor that are not in the file. */
  get isDirty(): boolean {
    return this._panel?.context.model.dirty ?? false;
  }

  /** What is wrong, by field: with what is typed, or with what was sent. */
  get faults(): Faults {
    const { trans } = this._services;
    const faults = faultsOf(this._form, this._parameters, trans);
    if (this._refusals === 0) {
      faults.delete('schedule.jobs.0'); // nobody can have named one yet
    }
    for (const problem of this._problems()) {
      const { field, why } = placed(problem);
      if (this._fields.has(field) && !faults.has(field)) {
        faults.set(field, why);
      }
    }
    return faults;
  }

  /** What went wrong and belongs to no field. */
  get trouble(): Problem | null {
    const { _state: state } = this;
    return state.kind === 'refused' && !this._fields.has(placed(state.problem).field)
      ? state.problem
      : null;
  }

  /** Why it cannot be submitted whatever is typed, in a sentence; null when it can. */
  get obstacle(): string | null {
    const { trans } = this._services;
    if (this._path !== null && this._inspection.kind === 'failed' && !this._stored) {
      return trans.__('The notebook could not be read.');
    }
    const takesNotebook = !this._stored || this._form.update;
    const { failure, environment } = this._environment ?? {};
    if (takesNotebook && (failure || environment?.state === 'failed')) {
      return trans.__('The environment cannot be built.');
    }
    const errors = this.findings.filter(({ severity }) => severity === 'error');
    return takesNotebook && errors.length > 0
      ? errors[0].message
      : this.quota?.never
        ? this.quota.sentence
        : null;
  }

  /** What the inspection found; that there is no parameters cell is said beside the parameters. */
  get findings(): Inspection['findings'] {
    const found = this._inspection.kind === 'ready' ? this._inspection.value.findings : [];
    return found.filter(({ code }) => code !== 'no_parameters');
  }

  /** What is enough for it, by what those before it needed; null when that cannot be said. */
  get advice(): Advice | null {
    return this._advice;
  }

  /** The size that is chosen, or the proposed one; null when the server says. */
  get size(): Size | null {
    const { places, _form: form, _stored: stored, _last: last } = this;
    return (
      places.named(form.size) ??
      (stored ? null : (places.named(last.size) ?? places.advised(this._advice)))
    );
  }

  /** The team that is chosen, or the proposed one. */
  get team(): string | undefined {
    const usual = this._inspection.kind === 'ready' ? this._inspection.value.team : undefined;
    return this.places.teamOf(this._form.team, this._last.team, usual) ?? usual;
  }

  /** What may be used for that team, and whether that size fits; null where nothing counts. */
  get quota(): Quota | null {
    return this._quota.value;
  }

  /** Who edits a job that is somebody else's; null when it is their own, or new. */
  get other(): string | null {
    const { me } = this.places;
    return this._stored && me && me.name !== this._stored.job.owner ? me.name : null;
  }

  /** How often a submission has ended without being accepted. */
  get refusals(): number {
    return this._refusals;
  }

  dispose(): void {
    if (this.isDisposed) {
      return;
    }
    Signal.clearData(this);
    this._preview.dispose();
    this._sending.leave();
    this._environment?.dispose();
    super.dispose();
  }

  /** Fetch what the dialog is filled in with; again after it could not be. */
  async load(): Promise<void> {
    this._knowing = this.places.load(this._services.client).then(() => this._changed());
    if (this._jobId !== null && !(await this._loadJob(this._jobId))) {
      return;
    }
    if (this._path !== null) {
      this._inspecting = this._inspect(this._path).then(() => this._loadAdvice());
      await Promise.all([this._inspecting, this._loadEnvironment(this._path)]);
    } else {
      await this._loadAdvice();
    }
  }

  /** What is typed has changed. */
  set(change: Partial<IForm>): void {
    this._form = { ...this._form, ...change };
    this._key = UUID.uuid4();
    // what is on its way is what was typed when it was submitted
    if (this._state.kind === 'refused' || this._state.kind === 'exists') {
      this._state = { kind: 'editing' };
    }
    if (change.when) {
      this._previewChosen();
    }
    this._changed();
  }

  /** When it is to run has changed. */
  setWhen(change: Partial<IWhen>): void {
    this.set({ when: { ...this._form.when, ...change } });
    if (change.kind === 'asset') {
      void this._loadJobs();
    }
  }

  /** A parameter has changed; without a value, it is the notebook's own again. */
  give(name: string, typed?: ITyped): void {
    const given = new Map(this._form.given);
    if (typed) {
      given.set(name, typed);
    } else {
      given.delete(name);
    }
    this.set({ given });
  }

  /** What stands in the control of a parameter. */
  typed(parameter: Parameter): ITyped {
    return this._form.given.get(parameter.name) ?? typedOf(parameter);
  }

  /** The person leaves: what has not been sent yet is not sent. */
  leave(): void {
    this._sending.leave();
  }

  /** Save, copy and send; null when that did not succeed, and the state says why. */
  async submit(): Promise<Accepted | null> {
    await Promise.all([this._inspecting, this._knowing]); // for who is faster than the server
    const { _state: before } = this;
    if (before.kind === 'submitting' || before.kind === 'loading' || before.kind === 'failed') {
      return null; // a double click is one click
    }
    if (this.obstacle !== null || this._isWrong()) {
      this._turnBack(before);
      return null;
    }
    this._to({ kind: 'submitting' });
    try {
      const sent =
        before.kind === 'exists'
          ? await this._sending.save(before.job, before.stored.version, this._path)
          : await this._send();
      if (sent.kind !== 'exists') {
        this._to({ kind: 'editing' });
        return sent;
      }
      this._turnBack(sent);
    } catch (reason) {
      if (reason instanceof Interrupted && this._path !== null && !this._stored) {
        unsent.set(this._path, this._form);
      }
      this._turnBack(
        reason instanceof Left
          ? { kind: 'editing' }
          : { kind: 'refused', problem: problemOf(reason) }
      );
    }
    return null;
  }

  private async _send(): Promise<Sent> {
    const { trans } = this._services;
    const { _form: form, _stored: stored, _path: path, _sending: sending } = this;
    // a schedule would not fire there
    const starts = !stored && form.when.kind === 'now';
    const taken =
      path !== null && (!stored || form.update)
        ? await sending.copy(path, this._panel, starts)
        : null;
    const values = valuesOf(form, this._parameters, trans, { all: stored !== null });
    const size = this.size?.name ?? null;
    if (stored) {
      return sending.save(changedJob(stored.job, form, taken, values), stored.version, path);
    }
    if (taken === null || path === null || this._inspection.kind !== 'ready') {
      throw new Error(trans.__('There is no notebook to send.'));
    }
    const owner = this.places.me?.name ?? this._inspection.value.owner;
    const team = this.team ?? this._inspection.value.team;
    return form.when.kind === 'now'
      ? sending.run(
          runOf(form, taken, { size, team }, values, `${this._key}-${taken.snapshot_id}`),
          path
        )
      : sending.save(jobOf(form, taken, { team, owner, size }, values), 0, path);
  }

  private async _loadJob(id: string): Promise<boolean> {
    const { client, contents, notebooks } = this._services;
    this._to({ kind: 'loading' });
    try {
      const [team, name] = id.split('/');
      const stored = await client.call('get', '/jobs/{team}/{name}', { path: { team, name } });
      const [task] = stored.job.tasks;
      this._stored = stored;
      this._form = formOf(stored.job);
      this._setParameters([]);
      const path = (await originOf(stored, client)) ?? task.notebook;
      const there = await contents.get(path, { content: false }).catch(() => null);
      if (there && stored.job.tasks.length === 1) {
        this._turnTo(path, notebooks.find(open => open.context.path === path) ?? null);
      }
      this._to({ kind: 'editing' });
      this._previewChosen();
      return true;
    } catch (reason) {
      this._to({ kind: 'failed', problem: problemOf(reason) });
      return false;
    }
  }

  private async _inspect(path: string): Promise<void> {
    const { client, state } = this._services;
    this._inspection = { kind: 'loading' };
    this._changed();
    const last = remembered(state, path).then(given => {
      this._last = given;
      return given.values;
    });
    try {
      const value = await client.call('post', '/notebooks/inspect', {
        body: { path, notebook: this._panel && documentOf(this._panel) }
      });
      this._inspection = { kind: 'ready', value };
      this._form = { ...this._form, name: this._form.name || value.name };
      this._setParameters(value.parameters, this._stored ? {} : await last);
    } catch (reason) {
      this._inspection = { kind: 'failed', problem: problemOf(reason) };
    }
    this._changed();
  }

  /** The notebook takes these; they have the values of the job, or those that were used last. */
  private _setParameters(declared: readonly Parameter[], last: Record<string, unknown> = {}): void {
    const tasks = this._stored?.job.tasks ?? [];
    const kept = tasks.length === 1 ? tasks[0].parameters : {};
    this._parameters = withGiven(declared, kept);
    const given = [...givenOf({ ...last, ...kept }, this._parameters), ...this._form.given];
    this._form = { ...this._form, given: new Map(given) };
  }

  private async _loadEnvironment(path: string): Promise<void> {
    const kernel = kernelOf(this._panel);
    this._environment ??= new EnvironmentModel(this._services.client, path);
    this._environment.stateChanged.connect(this._changed, this);
    await this._environment.setKernel(kernel);
  }

  private async _loadAdvice(): Promise<void> {
    const inspected = this._inspection.kind === 'ready' ? this._inspection.value.notebook : null;
    const query =
      this._jobId !== null
        ? { job: this._jobId, task: this._stored?.job.tasks[0].name }
        : { notebook: inspected ?? undefined };
    if (query.job === undefined && query.notebook === undefined) {
      return;
    }
    try {
      this._advice = await this._services.client.call('get', '/usage/advice', { query });
      this._changed();
    } catch {
      // it is advice: nothing waits for it
    }
  }

  private async _loadJobs(): Promise<void> {
    try {
      const { items } = await this._services.client.call('get', '/jobs', { query: { limit: 200 } });
      this._jobs = items.map(({ stored: { job } }) => `${job.team}/${job.name}`);
      this._changed();
    } catch {
      // they are suggestions; whether a job is there, the server says when it is named
    }
  }

  private _previewChosen(): void {
    const faults = faultsOf(this._form, [], this._services.trans);
    const isWrong = [...faults.keys()].some(field => field.startsWith('schedule.'));
    this._preview.show(isWrong ? null : scheduleOf(this._form.when));
  }

  /** What the server refused, of the preview and of the last submission. */
  private _problems(): Problem[] {
    const refused = [this._state, this._preview.state].map(each =>
      each.kind === 'refused' || each.kind === 'failed' ? each.problem : null
    );
    return refused.filter(problem => problem !== null);
  }

  /** Whether something typed is known to be wrong; what was refused may be sent once more. */
  private _isWrong(): boolean {
    const { trans } = this._services;
    const { state: preview } = this._preview;
    return (
      faultsOf(this._form, this._parameters, trans).size > 0 ||
      (preview.kind === 'failed' && preview.problem.code === 'invalid')
    );
  }

  private get _fields(): Set<string> {
    const fields = fieldsOf(this._form, this._parameters, this._stored?.job ?? null);
    if (this.places.sizes.kind === 'ready') {
      fields.add('size');
    }
    if (!this._stored && this.places.teams.length) {
      fields.add('team');
    }
    return this.other === null ? fields : fields.add('owner');
  }

  private _turnTo(path: string, panel: NotebookPanel | null): void {
    this._path = this._services.contents.localPath(path);
    this._panel = panel;
    panel?.context.model.stateChanged.connect(this._changed, this);
  }

  /** The submission is over; the person may change what is typed, and try again. */
  private _turnBack(state: State): void {
    this._refusals += 1;
    this._to(state);
  }

  private _to(state: State): void {
    this._state = state;
    this._changed();
  }

  private _changed(): void {
    if (!this.isDisposed) {
      const { me, sizes } = this.places;
      if (me && sizes.kind === 'ready') {
        void this._quota.ask(this.team, this.size?.name ?? sizes.value.default);
      }
      this.stateChanged.emit();
    }
  }

  private _state: State = { kind: 'loading' };
  private _form = emptyForm('');
  private _jobId: string | null = null;
  private _stored: StoredJob | null = null;
  private _path: string | null = null;
  private _panel: NotebookPanel | null = null;
  private _inspection: Fetched<Inspection> = { kind: 'none' };
  private _parameters: readonly Parameter[] = [];
  private _environment: EnvironmentModel | null = null;
  private _jobs: readonly string[] = [];
  private _advice: Advice | null = null;
  private _last: IGiven = { values: {} };
  private _refusals = 0;
  private _inspecting: Promise<void> | null = null;
  private _knowing: Promise<void> | null = null;
  /** Makes two submissions of the same thing one run. */
  private _key = UUID.uuid4();
  private readonly _preview: PreviewModel;
  private readonly _quota: QuotaModel;
  private readonly _sending: Sending;
}
