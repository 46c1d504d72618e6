import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ILayoutRestorer } from '@jupyterlab/application';
import { ICommandPalette, MainAreaWidget, WidgetTracker } from '@jupyterlab/apputils';
import { IDefaultFileBrowser } from '@jupyterlab/filebrowser';
import { ILauncher } from '@jupyterlab/launcher';
import type { NotebookPanel } from '@jupyterlab/notebook';
import { INotebookTracker } from '@jupyterlab/notebook';
import { IRenderMimeRegistry } from '@jupyterlab/rendermime';
import { ISettingRegistry } from '@jupyterlab/settingregistry';
import { IStateDB } from '@jupyterlab/statedb';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';
import type { LabIcon } from '@jupyterlab/ui-components';
import type { Widget } from '@lumino/widgets';
import type { ReadonlyPartialJSONObject } from '@lumino/coreutils';

import { jobsIcon, runInBackgroundIcon, scheduleIcon } from '../icons';
import type { ComparisonView } from '../runs/compare/view';
import type { RunView } from '../runs/view';
import { IElementClient } from '../tokens';
import type { Endings, NotifyOnFinish } from './endings';
import type { JobsPanel, Tab } from './list/panel';
import type { IServices } from './services';
import { CommandIDs } from './services';
import { Subject } from './subject';
import { WatchedRuns } from './watched';

/** After how long it is first asked what has happened, in milliseconds. */
const QUIET = 60_000;

/**
 * Jobs: from the notebook in front of you to a run that needs neither you nor this window.
 */
export const jobsPlugin: JupyterFrontEndPlugin<void> = {
  id: '@element/labextension:jobs',
  description: 'Schedules notebooks, runs them in the background, and shows how that went.',
  autoStart: true,
  requires: [IElementClient, INotebookTracker],
  optional: [
    IDefaultFileBrowser,
    IRenderMimeRegistry,
    IStateDB,
    ICommandPalette,
    ILauncher,
    ILayoutRestorer,
    ITranslator,
    ISettingRegistry
  ],
  activate: (
    app: JupyterFrontEnd,
    client: IElementClient,
    notebooks: INotebookTracker,
    files: IDefaultFileBrowser | null,
    rendermime: IRenderMimeRegistry | null,
    state: IStateDB | null,
    palette: ICommandPalette | null,
    launcher: ILauncher | null,
    restorer: ILayoutRestorer | null,
    translator: ITranslator | null,
    registry: ISettingRegistry | null
  ): void => {
    const trans = (translator ?? nullTranslator).load('element');
    const { contents, serverSettings } = app.serviceManager;
    const { commands, shell } = app;
    const watched = new WatchedRuns(serverSettings.baseUrl);
    const services: IServices = {
      client,
      commands,
      contents,
      notebooks,
      rendermime,
      state,
      trans,
      watched
    };

    const subject = new Subject(notebooks, files, app.contextMenu);
    const panelOf = (path: string): NotebookPanel | null =>
      notebooks.find(open => open.context.path === path) ?? null;

    const aboutNotebook = {
      path: {
        type: 'string',
        description: trans.__('Path of the notebook. Default: the one in front.')
      },
      from: {
        type: 'string',
        description: trans.__(
          'Where to look for the notebook: "filebrowser", "dialog" to ask, or nothing.'
        )
      }
    };

    commands.addCommand(CommandIDs.runInBackground, {
      label: args => (args.toolbar ? '' : trans.__('Run in Background Now')),
      caption: args =>
        subject.of(args) === null
          ? trans.__('Open or select a notebook to run it in the background')
          : trans.__('Run this notebook in the background now, as it is saved'),
      icon: args => (args.isPalette ? undefined : runInBackgroundIcon),
      describedBy: { args: { type: 'object', properties: aboutNotebook } },
      isEnabled: args => subject.of(args) !== null,
      execute: async args => {
        const path = subject.of(args);
        if (path === null) {
          return;
        }
        const { runInBackground } = await import('./runInBackground');
        await runInBackground(services, contents.localPath(path), panelOf(path));
      }
    });

    const isAbout = (args: ReadonlyPartialJSONObject) =>
      typeof args.job === 'string' || args.from === 'dialog' || subject.of(args) !== null;
    commands.addCommand(CommandIDs.schedule, {
      label: args => (args.toolbar ? trans.__('Schedule') : trans.__('Schedule Notebook…')),
      caption: args =>
        !isAbout(args)
          ? trans.__('Open or select a notebook to schedule it')
          : trans.__('Run this notebook at set times, or now with other parameters'),
      icon: args => (args.isPalette ? undefined : scheduleIcon),
      describedBy: {
        args: {
          type: 'object',
          properties: {
            ...aboutNotebook,
            job: { type: 'string', description: trans.__('The job to edit: "team/name".') }
          }
        }
      },
      isEnabled: isAbout,
      execute: async args => {
        let path = subject.of(args);
        if (files && args.from === 'dialog') {
          const { chosenNotebook } = await import('./schedule/choose');
          path = await chosenNotebook(files, String(args.cwd ?? ''), trans);
        }
        const { schedule } = await import('./schedule/schedule');
        if (typeof args.job === 'string') {
          await schedule(services, { job: args.job });
        } else if (path !== null) {
          await schedule(services, { path, panel: panelOf(path) });
        }
      }
    });

    /** The widget of that id in the main area: the one that is there, or a new one. */
    const there = async <T extends Widget>(
      tracker: WidgetTracker<MainAreaWidget<T>>,
      id: string,
      type: string,
      title: { label: string; icon: LabIcon },
      make: () => Promise<T>
    ): Promise<MainAreaWidget<T>> => {
      let widget = tracker.find(open => open.id === id);
      if (!widget) {
        widget = new MainAreaWidget({ content: await make() });
        widget.id = id;
        Object.assign(widget.title, title, { closable: true });
        await tracker.add(widget);
      }
      if (!widget.isAttached) {
        shell.add(widget, 'main', { type });
      }
      return widget;
    };

    const jobs = new WidgetTracker<MainAreaWidget<JobsPanel>>({ namespace: 'element-jobs' });
    commands.addCommand(CommandIDs.openJobs, {
      label: trans.__('Jobs'),
      caption: trans.__('Show what has run in the background, and what is scheduled'),
      icon: args => (args.isPalette ? undefined : jobsIcon),
      describedBy: {
        args: {
          type: 'object',
          properties: {
            tab: { type: 'string', description: trans.__('"runs" or "schedules".') }
          }
        }
      },
      execute: async args => {
        const title = { label: trans.__('Jobs'), icon: jobsIcon };
        const widget = await there(jobs, 'element-jobs', 'Jobs', title, async () => {
          const { JobsPanel } = await import('./list/panel');
          return new JobsPanel(services);
        });
        if (args.tab === 'runs' || args.tab === 'schedules') {
          widget.content.turnTo(args.tab satisfies Tab);
        }
        shell.activateById(widget.id);
      }
    });

    const runs = new WidgetTracker<MainAreaWidget<RunView>>({ namespace: 'element-runs' });
    commands.addCommand(CommandIDs.openRun, {
      label: trans.__('Open Run'),
      caption: trans.__('Show a run: its cells and outputs as they come, and why it failed'),
      describedBy: {
        args: {
          type: 'object',
          properties: { run_id: { type: 'string', description: trans.__('The id of the run.') } },
          required: ['run_id']
        }
      },
      isVisible: args => typeof args.run_id === 'string',
      execute: async args => {
        const runId = String(args.run_id);
        const id = `element-run-${runId}`;
        const title = { label: trans.__('Run'), icon: runInBackgroundIcon };
        await there(runs, id, 'Run', title, async () => {
          const { RunView } = await import('../runs/view');
          return new RunView(services, runId);
        });
        shell.activateById(id);
      }
    });

    const comparisons = new WidgetTracker<MainAreaWidget<ComparisonView>>({
      namespace: 'element-comparisons'
    });
    commands.addCommand(CommandIDs.compareRuns, {
      label: trans.__('Compare Runs'),
      caption: trans.__('Show what differs between two runs'),
      describedBy: {
        args: {
          type: 'object',
          properties: {
            first: { type: 'string', description: trans.__('The id of the one run.') },
            second: { type: 'string', description: trans.__('The id of the other run.') }
          },
          required: ['first', 'second']
        }
      },
      isVisible: args => typeof args.first === 'string' && typeof args.second === 'string',
      execute: async args => {
        const [first, second] = [String(args.first), String(args.second)];
        const id = `element-compare-${first}-${second}`;
        const title = { label: trans.__('Two runs'), icon: runInBackgroundIcon };
        await there(comparisons, id, 'Run', title, async () => {
          const { ComparisonView } = await import('../runs/compare/view');
          return new ComparisonView(services, first, second);
        });
        shell.activateById(id);
      }
    });

    /** What the person wants to be told of, as it is set at that time. */
    const notifyOnFinish = async (): Promise<NotifyOnFinish> => {
      const settings = await registry?.load(jobsPlugin.id).catch(() => null);
      return (settings?.get('notifyOnFinish').composite ?? 'started') as NotifyOnFinish;
    };
    let endings: Promise<Endings> | null = null;
    const told = () =>
      (endings ??= import('./endings').then(
        ({ Endings }) => new Endings(services, notifyOnFinish)
      ));
    const watch = async () => (await told()).watch();
    const listen = async () => {
      const { News } = await import('./news');
      return new News(services, await told());
    };
    watched.added.connect(() => void watch());
    if (watched.all.length > 0) {
      void app.restored.then(watch); // runs that the page was left with
    }
    setTimeout(() => void listen(), QUIET);

    if (restorer) {
      void restorer.restore(jobs, { command: CommandIDs.openJobs, name: () => 'jobs' });
      const runIdOf = (widget: MainAreaWidget<RunView>) => widget.id.replace('element-run-', '');
      void restorer.restore(runs, {
        command: CommandIDs.openRun,
        args: widget => ({ run_id: runIdOf(widget) }),
        name: runIdOf
      });
      const comparedIn = ({ content: { model } }: MainAreaWidget<ComparisonView>) => ({
        first: model.first,
        second: model.second
      });
      void restorer.restore(comparisons, {
        command: CommandIDs.compareRuns,
        args: comparedIn,
        name: widget => Object.values(comparedIn(widget)).join('-')
      });
    }

    launcher?.add({ command: CommandIDs.openJobs, category: trans.__('Other'), rank: 10 });
    if (files) {
      launcher?.add({
        command: CommandIDs.schedule,
        args: { from: 'dialog' },
        category: trans.__('Other'),
        rank: 11
      });
    }
    for (const command of [CommandIDs.runInBackground, CommandIDs.schedule, CommandIDs.openJobs]) {
      palette?.addItem({
        command,
        category: trans.__('Notebook Operations'),
        args: { isPalette: true }
      });
    }
  }
};
