/** The tiles of a slide as cells of a grid: their lines, and the outline of what they cover. */
import type { Viewport } from "./stage.svelte";
import type { SlideTiles } from "./tiles.svelte";

const MOST_CELLS = 1 << 24;

/** Straight lines along the axes, level-0 pixels: from x, y to x, y. */
export type Lines = Float64Array;

/** Distance at which tiles were cut, which divides every distance between corners; at most their edge. */
export function stepOf(tiles: SlideTiles): number {
  let step = tiles.edge;
  const { x: left, y: top } = tiles.bounds;
  for (let i = 0; i < tiles.count && step > 1; i++) {
    step = divisor(step, tiles.x[i]! - left);
    step = divisor(step, tiles.y[i]! - top);
  }
  return Math.max(step, tiles.edge / 8); // tiles on no grid: about where they lie
}

const divisor = (a: number, b: number): number => (b === 0 ? a : divisor(b, a % b));

/** Lines of the grid, and of them those around what tiles cover. */
export function cellLines(tiles: SlideTiles): { grid: Lines; outline: Lines } {
  if (tiles.count === 0) return { grid: new Float64Array(0), outline: new Float64Array(0) };
  const { x: left, y: top, width, height } = tiles.bounds;
  let step = stepOf(tiles);
  while ((width / step + 1) * (height / step + 1) > MOST_CELLS) step *= 2;
  const [columns, rows] = [Math.ceil(width / step), Math.ceil(height / step)];
  const stride = columns + 2; // a rim of empty cells
  const filled = new Uint8Array(stride * (rows + 2));
  for (let i = 0; i < tiles.count; i++) {
    const [across, down, edge] = [tiles.x[i]! - left, tiles.y[i]! - top, tiles.edges[i]!];
    const span = (from: number) => {
      const first = Math.floor(from / step + 0.5 - 1e-9);
      return [first, Math.max(first + 1, Math.round((from + edge) / step))] as const;
    };
    const [[column, endColumn], [firstRow, endRow]] = [span(across), span(down)];
    for (let row = firstRow; row < endRow; row++) {
      const start = (row + 1) * stride + 1;
      filled.fill(1, start + column, start + endColumn);
    }
  }
  const horizontal = runs(rows + 1, columns, (line, along) => {
    const cell = line * stride + along + 1;
    return filled[cell]! + filled[cell + stride]!;
  });
  const vertical = runs(columns + 1, rows, (line, along) => {
    const cell = (along + 1) * stride + line;
    return filled[cell]! + filled[cell + 1]!;
  });
  const placed = (from: typeof horizontal, sides: "any" | "one") =>
    from[sides].map(([line, begin, end]) => [line * step, begin * step, end * step] as const);
  const both = (sides: "any" | "one") =>
    Float64Array.from([
      ...placed(horizontal, sides).flatMap(([y, from, to]) => [left + from, top + y, left + to, top + y]),
      ...placed(vertical, sides).flatMap(([x, from, to]) => [left + x, top + from, left + x, top + to]),
    ]);
  return { grid: both("any"), outline: both("one") };
}

type Run = readonly [line: number, begin: number, end: number];

/** The longest pieces of each line with a filled cell on any side, and on one side alone. */
function runs(
  lines: number,
  length: number,
  sides: (line: number, along: number) => number,
): Record<"any" | "one", Run[]> {
  const found: Record<"any" | "one", Run[]> = { any: [], one: [] };
  for (let line = 0; line < lines; line++) {
    let [any, one] = [-1, -1];
    for (let along = 0; along <= length; along++) {
      const filled = along < length ? sides(line, along) : 0;
      if (filled > 0 && any < 0) any = along;
      if (filled === 0 && any >= 0) any = (found.any.push([line, any, along]), -1);
      if (filled === 1 && one < 0) one = along;
      if (filled !== 1 && one >= 0) one = (found.one.push([line, one, along]), -1);
    }
  }
  return found;
}

/** Add the lines that are on the screen to the path of a context. */
export function traceLines(context: CanvasRenderingContext2D, lines: Lines, viewport: Viewport): void {
  const { x, y, scale, width, height } = viewport;
  const [right, bottom] = [x + width / scale, y + height / scale];
  const sharp = (value: number) => Math.round(value) + 0.5;
  for (let i = 0; i < lines.length; i += 4) {
    const [ax, ay, bx, by] = [lines[i]!, lines[i + 1]!, lines[i + 2]!, lines[i + 3]!];
    if (bx < x || ax > right || by < y || ay > bottom) continue;
    context.moveTo(sharp((Math.max(ax, x - 9) - x) * scale), sharp((Math.max(ay, y - 9) - y) * scale));
    context.lineTo(sharp((Math.min(bx, right + 9) - x) * scale), sharp((Math.min(by, bottom + 9) - y) * scale));
  }
}
