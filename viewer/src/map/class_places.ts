/** Where the letter of a class stands on the map: among its own tiles. */
import type { ClassLook } from "../design/classes";
import type { Cloud, Colours, Point } from "./cloud";

export interface ClassPlace {
  title: string;
  letter: string;
  color: string;
  ink: string;
  place: Point;
}

/** Cells of a side of the grid in which a class is looked for. */
const CELLS = 24;

/** The middle of the fullest cell of each class that is shown. */
export function classPlaces(
  { xy }: Cloud,
  colours: Colours | null,
  looks: readonly ClassLook[],
  hidden: ReadonlySet<number>,
): ClassPlace[] {
  if (colours?.kind !== "classes") return [];
  const counts = looks.map(() => new Uint32Array(CELLS * CELLS));
  const sums = looks.map(() => new Float64Array(2 * CELLS * CELLS));
  const cellOf = (value: number) => Math.min(Math.max(Math.floor(((value + 1) / 2) * CELLS), 0), CELLS - 1);
  for (let i = 0; i < colours.values.length; i += 1) {
    const code = colours.values[i]!;
    if (code < 0 || code >= looks.length) continue;
    const [x, y] = [xy[2 * i]!, xy[2 * i + 1]!];
    const cell = cellOf(y) * CELLS + cellOf(x);
    counts[code]![cell]! += 1;
    sums[code]![2 * cell]! += x;
    sums[code]![2 * cell + 1]! += y;
  }
  return looks.flatMap((look, code) => {
    const of = counts[code]!;
    const cell = of.reduce((best, count, i) => (count > of[best]! ? i : best), 0);
    if (hidden.has(code) || of[cell] === 0) return [];
    const place = { x: sums[code]![2 * cell]! / of[cell]!, y: sums[code]![2 * cell + 1]! / of[cell]! };
    return [{ title: look.label, letter: look.letter, color: look.color, ink: look.ink, place }];
  });
}
