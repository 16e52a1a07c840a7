/** Colours of the points of a map: of classes those of the whole page, of numbers a scale that all eyes read. */
import { classLooks, type ClassLook } from "../design/classes";
import type { Colours } from "./cloud";

/** Classes that have a colour of their own; the others are grey. */
export const MOST_COLOURS = 9;

/** Viridis from its blue on, in eight steps: evenly brighter, and readable without red and green. */
const SCALE: readonly string[] = [
  "#404387", "#345e8d", "#29788e", "#20908c", "#22a784", "#44be70", "#79d151", "#fde724",
]; // prettier-ignore

/** "#rrggbb" as an ImageData has it. */
export function packed(colour: string): number {
  const value = parseInt(colour.slice(1), 16);
  return (0xff000000 | ((value & 0xff) << 16) | (value & 0xff00) | (value >> 16)) >>> 0;
}

/** The scale as a style of CSS, from low to high. */
export const SCALE_STYLE = `linear-gradient(to right, ${SCALE.join(", ")})`;

const STEPS = 256;
const STEPPED = Uint32Array.from({ length: STEPS }, (_, step) => {
  const at = (step / (STEPS - 1)) * (SCALE.length - 1);
  const low = Math.min(Math.floor(at), SCALE.length - 2);
  const [from, to] = [parseInt(SCALE[low]!.slice(1), 16), parseInt(SCALE[low + 1]!.slice(1), 16)];
  const channel = (shift: number) =>
    Math.round(((from >> shift) & 0xff) + (((to >> shift) & 0xff) - ((from >> shift) & 0xff)) * (at - low));
  return (0xff000000 | (channel(0) << 16) | (channel(8) << 8) | channel(16)) >>> 0;
});

/** The looks of the classes that have a colour of their own.
 *
 * @param known - The look that a class of the task has in the rest of the page.
 */
export function looksOf({ classes }: Colours, known: (label: string) => ClassLook | null = () => null): ClassLook[] {
  const looks = classLooks(classes.slice(0, MOST_COLOURS));
  const taken = classes.map(known);
  return taken.slice(0, MOST_COLOURS).every((look) => look !== null)
    ? (taken.slice(0, MOST_COLOURS) as ClassLook[])
    : looks;
}

/** The order of drawing: points without a colour of their own first, so that they hide no others. */
export function drawOrder(order: Uint32Array, colours: Colours | null, looks: readonly ClassLook[]): Uint32Array {
  if (colours === null) return order;
  const { kind, values } = colours;
  const hasOwn = (point: number) =>
    kind === "classes" ? values[point]! >= 0 && values[point]! < looks.length : !Number.isNaN(values[point]);
  const sorted = new Uint32Array(order.length);
  let [low, high] = [0, order.length];
  for (const point of order) if (!hasOwn(point)) sorted[low++] = point;
  for (let i = order.length - 1; i >= 0; i -= 1) if (hasOwn(order[i]!)) sorted[--high] = order[i]!;
  return sorted;
}

/** Colours of the points, packed; 0 for those that are hidden.
 *
 * @param hidden - Classes that are not shown; -1 are those without.
 * @param rest - Colour of a point without value, or of a class without a colour of its own.
 */
export function paint(
  colours: Colours | null,
  looks: readonly ClassLook[],
  count: number,
  { plain, rest, hidden }: { plain: string; rest: string; hidden: ReadonlySet<number> },
): Uint32Array {
  if (colours === null) return new Uint32Array(count).fill(packed(plain));
  const grey = packed(rest);
  const painted = new Uint32Array(count);
  const { values } = colours;
  if (colours.kind === "classes") {
    const own = colours.classes.map((_, i) => (hidden.has(i) ? 0 : looks[i] ? packed(looks[i].color) : grey));
    const none = hidden.has(-1) ? 0 : grey;
    for (let i = 0; i < count; i += 1) painted[i] = values[i]! < 0 ? none : own[values[i]!]!;
    return painted;
  }
  const [low, high] = colours.range;
  const steps = (STEPS - 1) / (high - low || 1);
  for (let i = 0; i < count; i += 1) {
    const value = values[i]!;
    painted[i] = Number.isNaN(value)
      ? grey
      : STEPPED[Math.min(Math.max(Math.round((value - low) * steps), 0), STEPS - 1)]!;
  }
  return painted;
}
