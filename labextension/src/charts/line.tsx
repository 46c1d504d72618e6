/**
 * One value over time, drawn as a line.
 */
import * as React from 'react';

/** A value at an instant, in milliseconds since 1970. */
export interface IPoint {
  readonly at: number;
  readonly value: number;
}

export interface ILineProps {
  /** In the order of time; more than there are pixels are drawn as the highest of each column. */
  points: readonly IPoint[];
  /** Drawn as a dashed line once a value has come to half of it. */
  limit?: number;
  width: number;
  height: number;
  /** What the chart says, for those who do not see it. */
  label: string;
  /** The highest value in words; it stands in the chart where there is room for it. */
  format: (value: number) => string;
  /** Makes a button of the chart. */
  onClick?: () => void;
}

const MARGIN = 2;
/** Charts at least that high, in pixels, have words in them. */
const WORDS_HEIGHT = 60;
const WORDS_SPACE = 14;

/** A chart from nought to the highest value, in the colours of the theme. */
export function Line(props: ILineProps): React.ReactElement {
  const { points, limit, width, height, label, format, onClick } = props;
  const highest = points.reduce((most, { value }) => Math.max(most, value), 0);
  const isLimited = limit !== undefined && highest >= limit / 2;
  const top = Math.max(highest, isLimited ? limit : 0) || 1;
  const roof = height >= WORDS_HEIGHT ? WORDS_SPACE : MARGIN;
  const y = (value: number) =>
    round(height - MARGIN - (value / top) * (height - MARGIN - roof)).toString();
  const line = columns(points, width - 2 * MARGIN).map(([x, value]) => `${x + MARGIN},${y(value)}`);
  const chart = (
    <svg
      className="jp-ElementLine"
      viewBox={`0 0 ${width} ${height}`}
      width={width}
      height={height}
      {...(onClick ? { 'aria-hidden': true } : { role: 'img', 'aria-label': label })}
    >
      {isLimited ? (
        <line className="jp-mod-limit" x1={0} x2={width} y1={y(limit)} y2={y(limit)} />
      ) : null}
      {line.length > 1 ? <polyline points={line.join(' ')} /> : null}
      {line.length === 1 ? <circle cx={MARGIN} cy={line[0].split(',')[1]} r={MARGIN} /> : null}
      {roof === WORDS_SPACE && line.length ? (
        <text x={MARGIN} y={WORDS_SPACE - 4}>
          {format(top)}
        </text>
      ) : null}
    </svg>
  );
  return onClick ? (
    <button type="button" className="jp-ElementLine-button" aria-label={label} onClick={onClick}>
      {chart}
    </button>
  ) : (
    chart
  );
}

/** The highest value of each column of pixels, and where it is. */
function columns(points: readonly IPoint[], width: number): [number, number][] {
  if (!points.length) {
    return [];
  }
  const first = points[0].at;
  const span = points[points.length - 1].at - first || 1;
  const found = new Map<number, number>();
  for (const { at, value } of points) {
    const exact = ((at - first) / span) * width;
    const x = points.length > width ? Math.round(exact) : round(exact);
    found.set(x, Math.max(value, found.get(x) ?? 0));
  }
  return [...found];
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}
