/**
 * A field of the dialog: its label, its control, what helps, and what is wrong with it.
 */
import * as React from 'react';

/** What ties a control to its label, its hint and its fault. */
export interface IControl {
  id: string;
  'aria-describedby': string | undefined;
  'aria-invalid': boolean;
}

interface IField {
  /** Of the control, for who wants to find it. */
  id?: string;
  label: string;
  /** What is wrong; nothing when it is right. */
  fault?: string;
  hint?: React.ReactNode;
  /** Something that stands beside the label. */
  aside?: React.ReactNode;
  children: (control: IControl) => React.ReactNode;
}

/** A control with its label above it. */
export function Field({
  id: named,
  label,
  fault,
  hint,
  aside,
  children
}: IField): React.ReactElement {
  const own = React.useId();
  const id = named ?? own;
  return (
    <div className="jp-ElementField">
      <div className="jp-ElementField-label">
        <label htmlFor={id}>{label}</label>
        {aside}
      </div>
      {children(controlFor(id, hint, fault))}
      <Said id={id} hint={hint} fault={fault} />
    </div>
  );
}

/** Several controls with one name. */
export function Group({
  label,
  fault,
  hint,
  children
}: Omit<IField, 'id' | 'children' | 'aside'> & { children: React.ReactNode }): React.ReactElement {
  const id = React.useId();
  const { 'aria-describedby': described } = controlFor(id, hint, fault);
  return (
    <fieldset className="jp-ElementGroup" aria-describedby={described}>
      <legend>{label}</legend>
      {children}
      <Said id={id} hint={hint} fault={fault} />
    </fieldset>
  );
}

/** A control with its label beside it. */
export function Tick({
  label,
  checked,
  onChange,
  type = 'checkbox',
  name,
  role,
  invalid = false,
  disabled = false
}: {
  label: string;
  checked: boolean;
  onChange: (checked: boolean) => void;
  type?: 'checkbox' | 'radio';
  name?: string;
  role?: 'switch';
  invalid?: boolean;
  disabled?: boolean;
}): React.ReactElement {
  return (
    <label className="jp-ElementTick">
      <input
        type={type}
        name={name}
        role={role}
        checked={checked}
        disabled={disabled}
        aria-invalid={invalid || undefined}
        onChange={event => onChange(event.target.checked)}
      />
      <span>{label}</span>
    </label>
  );
}

function Said({
  id,
  hint,
  fault
}: {
  id: string;
  hint?: React.ReactNode;
  fault?: string;
}): React.ReactElement {
  return (
    <>
      {hint ? (
        <p id={`${id}-hint`} className="jp-ElementField-hint">
          {hint}
        </p>
      ) : null}
      {fault ? (
        <p id={`${id}-fault`} className="jp-ElementField-fault">
          {fault}
        </p>
      ) : null}
    </>
  );
}

function controlFor(id: string, hint: React.ReactNode, fault?: string): IControl {
  const described = [hint ? `${id}-hint` : '', fault ? `${id}-fault` : ''].filter(Boolean);
  return {
    id,
    'aria-describedby': described.join(' ') || undefined,
    'aria-invalid': fault !== undefined
  };
}
