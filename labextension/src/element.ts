/**
 * Elements with a class of ours, in few words: `shortJsx.cjs` writes the calls.
 */
import * as React from 'react';

type Create = (type: string, props: object | null, ...children: React.ReactNode[]) => unknown;

/** `React.createElement`; a type `div.Aside` is a `div` of the class `jp-ElementAside`. */
export const element: Create = (type, props, ...children) => {
  const [tag, name] = typeof type === 'string' ? type.split('.') : [type];
  return React.createElement(
    tag,
    name ? { ...props, className: `jp-Element${name}` } : props,
    ...children
  );
};
