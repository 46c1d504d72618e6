/**
 * Parameters as they are typed: which control each gets, and what a typed value means.
 */
import type { TranslationBundle } from '@jupyterlab/translation';
import { JSONExt } from '@lumino/coreutils';
import type { ReadonlyJSONValue } from '@lumino/coreutils';

import type { Parameter } from '../../api/types';

/** How a parameter is typed. */
export type Control =
  'number' | 'switch' | 'choice' | 'text' | 'date' | 'datetime' | 'json' | 'any';

/** What stands in the control; `none` is its tick for None, and keeps the text. */
export interface ITyped {
  readonly text: string;
  readonly none: boolean;
}

/** What a typed value means: a value, the notebook's own, or why it is neither. */
export type Reading =
  { kind: 'value'; value: unknown } | { kind: 'default' } | { kind: 'wrong'; why: string };

const DATE = /^\d{4}-\d\d-\d\d$/;
const DATETIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d)?$/;

/** A text that is filled in when the run starts, such as `{{ ds }}`. */
const FILLED_IN = /\{\{.*\}\}/;

/** Whether the notebook's own value is known: it is a literal. */
export function isKnown(parameter: Parameter): boolean {
  return parameter.default !== null || parameter.default_source === 'None';
}

/** The control of a parameter; a text that holds a date has that of a date. */
export function controlOf(parameter: Parameter, typed?: ITyped): Control {
  const { kind } = parameter;
  const held = typed ? [typed.text] : [];
  const dates = [...(typeof parameter.default === 'string' ? [parameter.default] : []), ...held];
  switch (kind) {
    case 'int':
    case 'float':
      return 'number';
    case 'bool':
      return isKnown(parameter) && !parameter.optional ? 'switch' : 'choice';
    case 'date':
      return dates.every(each => each === '' || DATE.test(each)) ? 'date' : 'text';
    case 'datetime':
      return dates.every(each => each === '' || DATETIME.test(each)) ? 'datetime' : 'text';
    case 'str': {
      const isDate = DATE.test(String(parameter.default));
      return isDate && dates.every(each => each === '' || DATE.test(each)) ? 'date' : 'text';
    }
    case 'list':
    case 'dict':
      return 'json';
    default:
      return 'any';
  }
}

/** A value as it stands in its control; without one, the notebook's own. */
export function typedOf(parameter: Parameter, value?: unknown): ITyped {
  if (value === undefined) {
    const source = parameter.default_source;
    // a number of more digits than JavaScript has stands as the notebook has it
    return parameter.kind === 'int' && /^-?\d+$/.test(source)
      ? { text: source, none: false }
      : isKnown(parameter) && parameter.kind !== 'none' && parameter.kind !== 'unknown'
        ? typedOf(parameter, parameter.default)
        : { text: '', none: false };
  }
  if (value === null) {
    const any = parameter.kind === 'none' || parameter.kind === 'unknown';
    return { text: any ? 'null' : '', none: !any };
  }
  return {
    text: typeof value === 'string' ? quoted(parameter, value) : JSON.stringify(value),
    none: false
  };
}

/** In a control that takes anything, a text that would be read as JSON is in quotes. */
function quoted({ kind }: Parameter, value: string): string {
  const any = kind === 'none' || kind === 'unknown';
  return any && typeof loose(value) !== 'string' ? JSON.stringify(value) : value;
}

/** What stands in the control, as a value of the parameter's kind. */
export function read(parameter: Parameter, typed: ITyped, trans: TranslationBundle): Reading {
  const text = typed.text.trim();
  const { kind } = parameter;
  if (typed.none) {
    return { kind: 'value', value: null };
  }
  if (kind === 'str' && (isKnown(parameter) || typed.text !== '')) {
    return { kind: 'value', value: typed.text };
  }
  if (text === '') {
    return { kind: 'default' };
  }
  if (FILLED_IN.test(text) && kind !== 'list' && kind !== 'dict') {
    return { kind: 'value', value: text };
  }
  switch (kind) {
    case 'int':
      return wholeNumber(text, trans);
    case 'float':
      return /^[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?$/i.test(text) && isFinite(Number(text))
        ? { kind: 'value', value: Number(text) }
        : { kind: 'wrong', why: trans.__('Give a number, such as 0.5.') };
    case 'bool':
      return { kind: 'value', value: text === 'true' };
    case 'list':
    case 'dict':
      return json(kind, text, trans);
    case 'date':
      return isMoment(text, DATE)
        ? { kind: 'value', value: text }
        : { kind: 'wrong', why: trans.__('Give a date, such as 2026-10-31.') };
    case 'datetime':
      return isMoment(text, /^\d{4}-\d\d-\d\d[T ]\d\d:\d\d/)
        ? { kind: 'value', value: text }
        : { kind: 'wrong', why: trans.__('Give a date and a time, such as 2026-10-31T09:00.') };
    default:
      return { kind: 'value', value: loose(typed.text) };
  }
}

/** Whether a value is what the notebook has anyway. */
export function isDefault(parameter: Parameter, value: unknown): boolean {
  return (
    isKnown(parameter) &&
    JSONExt.deepEqual(value as ReadonlyJSONValue, parameter.default as ReadonlyJSONValue)
  );
}

/** A parameter that is given to a notebook which does not say what it takes. */
export function parameterFor(name: string, value: unknown): Parameter {
  const kind =
    typeof value === 'boolean'
      ? 'bool'
      : typeof value === 'number'
        ? 'float'
        : typeof value === 'string'
          ? 'str'
          : Array.isArray(value)
            ? 'list'
            : value === null
              ? 'none'
              : 'dict';
  return { name, kind, default: null, default_source: '', optional: false, help: '' };
}

function wholeNumber(text: string, trans: TranslationBundle): Reading {
  const value = Number(text);
  if (!/^[-+]?\d+$/.test(text)) {
    return { kind: 'wrong', why: trans.__('Give a whole number, such as 3.') };
  }
  return Number.isSafeInteger(value)
    ? { kind: 'value', value }
    : { kind: 'wrong', why: trans.__('Numbers of more than 15 digits cannot be given here.') };
}

function json(kind: 'list' | 'dict', text: string, trans: TranslationBundle): Reading {
  const value = parsed(text);
  const isList = Array.isArray(value);
  if (kind === 'list') {
    return isList
      ? { kind: 'value', value }
      : { kind: 'wrong', why: trans.__('Give a list as JSON, such as [1, "two"].') };
  }
  return typeof value === 'object' && value !== null && !isList
    ? { kind: 'value', value }
    : { kind: 'wrong', why: trans.__('Give names and values as JSON, such as {"a": 1}.') };
}

/** JSON, the words of Python, or else the text itself. */
function loose(text: string): unknown {
  switch (text.trim()) {
    case 'None':
      return null;
    case 'True':
      return true;
    case 'False':
      return false;
  }
  const value = parsed(text);
  return value === undefined ? text : value;
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}

function isMoment(text: string, shape: RegExp): boolean {
  return shape.test(text) && !isNaN(Date.parse(text));
}
