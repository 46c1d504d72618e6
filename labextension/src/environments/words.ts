/**
 * What people read about an environment; the same words in the toolbar, the panel and notices.
 */
import { PathExt } from '@jupyterlab/coreutils';
import type { TranslationBundle } from '@jupyterlab/translation';

import type { BuildEvent, Definition, NotebookEnvironment, Origin } from '../api/types';
import type { Standing } from './model';

/** What people call a definition; short enough for a toolbar. */
export function nameOf(definition: Definition | null, trans: TranslationBundle): string {
  if (definition === null) {
    return trans.__('Environment');
  }
  const name =
    definition.name ??
    (definition.kind === 'inline' ? trans.__('inline') : PathExt.basename(definition.path));
  return definition.variant ? `${name} [${definition.variant}]` : name;
}

/** Where a definition is, in full. */
export function placeOf(definition: Definition, trans: TranslationBundle): string {
  const variant = definition.variant ? ` [${definition.variant}]` : '';
  if (definition.name !== null) {
    return definition.name === 'default'
      ? trans.__('The default environment%1', variant)
      : trans.__('%1 (shared)%2', definition.name, variant);
  }
  return definition.kind === 'inline'
    ? trans.__('%1, inline%2', definition.path, variant)
    : definition.path + variant;
}

/** How the environment stands, in a few words. */
export function wordFor(
  standing: Standing,
  progress: BuildEvent | null,
  trans: TranslationBundle
): string {
  switch (standing) {
    case 'ready':
      return trans.__('ready');
    case 'missing':
      return trans.__('not built yet');
    case 'changed':
      return trans.__('changed: restart to update');
    case 'failed':
      return trans.__('failed');
    case 'building':
      return progress ? stepOf(progress, trans) : trans.__('building');
  }
}

/** Where a build is. */
export function stepOf({ phase, done, total }: BuildEvent, trans: TranslationBundle): string {
  const counted = done !== null && total !== null && total > 0;
  switch (phase) {
    case 'waiting':
      return trans.__('waiting for another build');
    case 'resolving':
      return trans.__('resolving');
    case 'downloading':
      return counted ? trans.__('downloading %1 of %2', done, total) : trans.__('downloading');
    case 'installing':
      return counted ? trans.__('installing %1 of %2', done, total) : trans.__('installing');
    case 'checking':
      return trans.__('checking');
    case 'ready':
      return trans.__('ready');
    case 'failed':
      return trans.__('failed');
  }
}

/** What to say of an environment when a person asks for more, a line each. */
export function detailsOf(environment: NotebookEnvironment, trans: TranslationBundle): string[] {
  const { definition, failure, python, packages, ignored, notices } = environment;
  const lines: string[] = [];
  if (definition) {
    lines.push(`${placeOf(definition, trans)}: ${definition.why}`);
  }
  if (failure) {
    lines.push(`${failure.title}. ${failure.summary}`);
  }
  if (python && packages !== null) {
    lines.push(trans._n('Python %2, %1 package', 'Python %2, %1 packages', packages, python));
  } else if (python) {
    lines.push(trans.__('Python %1', python));
  }
  for (const { path, reason } of ignored) {
    lines.push(trans.__('Not used: %1, because %2.', path, reason));
  }
  return [...lines, ...notices];
}

/** What kind of place packages would come from. */
export function kindOf(origin: Origin, trans: TranslationBundle): string {
  switch (origin.kind) {
    case 'index':
      return trans.__('package index');
    case 'find_links':
      return trans.__('page of packages');
    case 'channel':
      return trans.__('conda channel');
    case 'url':
      return trans.__('file at an address');
    case 'vcs':
      return trans.__('repository');
    case 'sdist':
      return trans.__('source that is built here, which runs its code');
  }
}
