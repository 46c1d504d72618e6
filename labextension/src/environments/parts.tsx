/**
 * Parts that more than one view of the panel is made of.
 */
import { Clipboard } from '@jupyterlab/apputils';
import type { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import type { Problem } from '../api/types';

interface ITranslated {
  trans: TranslationBundle;
}

/** A line that says what is awaited; it appears only when that takes a moment. */
export function Waiting({ text }: { text: string }): React.ReactElement {
  return (
    <p role="status" className="jp-ElementWaiting">
      {text}
    </p>
  );
}

/** What failed, what to do about it, and a button that tries again. */
export function Trouble({
  title,
  problem,
  again,
  trans
}: ITranslated & {
  title?: string;
  problem: Problem;
  again?: () => void;
}): React.ReactElement {
  return (
    <div role="alert" className="jp-ElementTrouble">
      {title ? <strong>{title}</strong> : null}
      <p>{problem.message}</p>
      {problem.hint ? <p>{problem.hint}</p> : null}
      {problem.details ? (
        <Folded summary={trans.__('Details')} text={problem.details} trans={trans} />
      ) : null}
      {again ? <Button label={trans.__('Try again')} onClick={again} /> : null}
    </div>
  );
}

/** A text of several lines that is folded away, with a button that copies it. */
export function Folded({
  summary,
  text,
  trans
}: ITranslated & { summary: string; text: string }): React.ReactElement {
  return (
    <details className="jp-ElementFolded">
      <summary>{summary}</summary>
      <pre tabIndex={0}>{text}</pre>
      <Copy text={text} label={trans.__('Copy')} trans={trans} />
    </details>
  );
}

export function Button({
  id,
  label,
  onClick,
  busy = false,
  main = false,
  title
}: {
  id?: string;
  label: string;
  onClick: () => void;
  busy?: boolean;
  main?: boolean;
  title?: string;
}): React.ReactElement {
  return (
    <button
      id={id}
      type="button"
      className={`jp-ElementButton jp-mod-styled${main ? ' jp-mod-accept' : ''}`}
      aria-busy={busy}
      aria-disabled={busy}
      title={title}
      onClick={() => {
        if (!busy) {
          onClick();
        }
      }}
    >
      {label}
    </button>
  );
}

/** Copies a text, and says so. */
export function Copy({
  text,
  label,
  title,
  trans
}: ITranslated & { text: string; label: string; title?: string }): React.ReactElement {
  const [copied, setCopied] = React.useState('');
  const done = copied === text && text !== '';
  return (
    <button
      type="button"
      className="jp-ElementButton jp-ElementCopy jp-mod-styled"
      title={title}
      aria-live="polite"
      onClick={() => {
        Clipboard.copyToSystem(text);
        setCopied(text);
      }}
    >
      {done ? trans.__('Copied') : label}
    </button>
  );
}

/** Keeps the focus in it when what had it is gone, such as the button of an action. */
export function Keep(props: React.HTMLAttributes<HTMLDivElement>): React.ReactElement {
  const whole = React.useRef<HTMLDivElement>(null);
  const focused = React.useRef<Element | null>(null);
  React.useLayoutEffect(() => {
    if (
      focused.current &&
      !focused.current.isConnected &&
      (document.activeElement === document.body || document.activeElement === null)
    ) {
      focused.current = null;
      whole.current?.focus();
    }
  });
  return (
    <div
      {...props}
      ref={whole}
      tabIndex={-1}
      onFocus={event => (focused.current = event.target)}
      onBlur={event => {
        if (event.target.isConnected) {
          focused.current = null;
        }
      }}
    />
  );
}

/** How long ago a moment was, in words; the moment itself is its title. */
export function Ago({ at, trans }: ITranslated & { at: string | number }): React.ReactElement {
  const moment = new Date(at);
  const seconds = Math.max(0, (Date.now() - moment.getTime()) / 1000);
  return (
    <time dateTime={moment.toISOString()} title={moment.toLocaleString()}>
      {seconds < 60 ? trans.__('just now') : ago(seconds)}
    </time>
  );
}

const STEPS: [Intl.RelativeTimeFormatUnit, number][] = [
  ['year', 31_557_600],
  ['month', 2_629_800],
  ['day', 86_400],
  ['hour', 3_600],
  ['minute', 60]
];

function ago(seconds: number): string {
  const [unit, length] = STEPS.find(([, each]) => seconds >= each) ?? STEPS[STEPS.length - 1];
  return new Intl.RelativeTimeFormat(undefined, { numeric: 'auto' }).format(
    -Math.floor(seconds / length),
    unit
  );
}

const SIZES = ['byte', 'kilobyte', 'megabyte', 'gigabyte', 'terabyte'];

/** A number of bytes as people say it. */
export function sizeOf(bytes: number): string {
  const power = Math.min(SIZES.length - 1, Math.floor(Math.log10(Math.max(bytes, 1)) / 3));
  return new Intl.NumberFormat(undefined, {
    style: 'unit',
    unit: SIZES[power],
    maximumSignificantDigits: 3
  }).format(bytes / 1000 ** power);
}
