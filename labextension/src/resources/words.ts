/**
 * How resources are told to people.
 */
import { PathExt } from '@jupyterlab/coreutils';
import type { TranslationBundle } from '@jupyterlab/translation';

import type { Death, KernelUsage, Sample } from './types';

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];

/** From which share of its limit a value is marked, whatever the settings say. */
export const CLOSE = 0.9;

/** A number of cores. */
export function cores(count: number): string {
  return number(count, 1);
}

/** A size in the units in which limits of memory are given. */
export function size(bytes: number): string {
  const unit = unitOf(bytes);
  return `${inUnit(bytes, unit)} ${UNITS[unit]}`;
}

/** How much of a limit, both in its unit. */
export function sizes(bytes: number, limit: number | null, trans: TranslationBundle): string {
  return limit === null
    ? size(bytes)
    : trans.__('%1 of %2', inUnit(bytes, unitOf(limit)), size(limit));
}

/** A share as a percentage. */
export function percent(share: number): string {
  return `${Math.round(share * 100)}\u00a0%`;
}

/** How much of the memory's limit is used; null without a limit. */
export function memoryShare({ server }: Sample): number | null {
  const { memory_bytes, memory_limit_bytes } = server;
  return memory_limit_bytes ? memory_bytes / memory_limit_bytes : null;
}

/** Whether a share is so high that it is marked. */
export function isClose(share: number | null, from: number): boolean {
  return share !== null && share >= Math.min(from, CLOSE);
}

/** Everything in one line: what there is of processor, memory and GPUs. */
export function summary({ server, gpus }: Sample, trans: TranslationBundle): string {
  const parts = [
    trans.__('CPU %1 of %2', cores(server.cpu_cores), cores(server.cpu_limit_cores)),
    sizes(server.memory_bytes, server.memory_limit_bytes, trans)
  ];
  const busy = gpus.map(gpu => gpu.utilization).filter(each => each !== null);
  if (busy.length) {
    const mean = busy.reduce((sum, each) => sum + each, 0) / busy.length;
    parts.push(trans._n('GPU %2', '%1 GPUs %2', busy.length, percent(mean)));
  }
  return parts.join(' · ');
}

/** What people call a kernel: its notebook. */
export function nameOf(
  { notebook, kernel_name }: Pick<KernelUsage, 'notebook' | 'kernel_name'>,
  trans: TranslationBundle
): string {
  return notebook ? PathExt.basename(notebook) : trans.__('%1 without a notebook', kernel_name);
}

/** Kernels, the largest first. */
export function bySize(kernels: readonly KernelUsage[]): KernelUsage[] {
  return [...kernels].sort((one, other) => other.memory_bytes - one.memory_bytes);
}

/** That memory is nearly full, and who has most of it. */
export function warning(sample: Sample, trans: TranslationBundle): string {
  const share = percent(Math.min(memoryShare(sample) ?? 1, 1));
  const [largest] = bySize(sample.kernels);
  return largest
    ? trans.__(
        'Memory is %1 full; the kernel may be stopped. Largest: %2 %3.',
        share,
        nameOf(largest, trans),
        size(largest.memory_bytes)
      )
    : trans.__('Memory is %1 full.', share);
}

/** Where a kernel was when it died. */
export interface IExecuted {
  /** Counted from 1, as people do. */
  readonly number: number;
  /** The first line of the cell. */
  readonly line: string;
}

/** Whose kernel died, how, and at which cell, in the few words that a notice has room for. */
export function obituary(death: Death, cell: IExecuted | null, trans: TranslationBundle): string {
  const { notebook, sentence } = death;
  const [said] = sentence.split(/(?<=\.) /, 1);
  const parts = [notebook ? trans.__('%1: %2', PathExt.basename(notebook), said) : said];
  if (cell) {
    parts.push(trans.__('It was at cell %1: %2', cell.number, short(cell.line)));
  }
  return parts.join(' ');
}

function short(line: string): string {
  return line.length > 30 ? `${line.slice(0, 29)}…` : line;
}

function unitOf(bytes: number): number {
  return Math.min(UNITS.length - 1, Math.floor(Math.log2(Math.max(bytes, 1)) / 10));
}

function inUnit(bytes: number, unit: number): string {
  const value = bytes / 1024 ** unit;
  return number(value, value < 9.95 && unit > 2 ? 1 : 0);
}

function number(value: number, digits: number): string {
  return new Intl.NumberFormat(undefined, { maximumFractionDigits: digits }).format(value);
}
