/** The tiles of a map as typed arrays, and the arithmetic of looking at them: no DOM, no reactivity. */
import { readSafetensors } from "../api/safetensors";

/** What is told of a map beside its points: `MapFacts` of the service. */
export interface MapFacts {
  version: string;
  tiles: number;
  placed: number;
  slides: number;
  collection_tiles: number;
  new_slides: number;
  note: string;
  record: {
    method: string;
    library: string | null;
    config: { method: "pacmap" | "pca"; seed: number; tiles: number; neighbours: number | null };
    created_at: string;
  };
}

export interface Cloud {
  facts: MapFacts;
  ids: BigInt64Array;
  /** x and y of each tile in turn, about -1 to 1, to the right and upwards. */
  xy: Float32Array;
  /** Index into `slides` of each tile. */
  slide: Uint32Array;
  slides: readonly string[];
  /** Tiles in the order in which they are drawn: shuffled, so that no class lies on top of all others. */
  order: Uint32Array;
}

/** A value for each tile of a cloud, in its order: `MapColours` of the service. */
export interface Colours {
  by: string;
  title: string;
  kind: "classes" | "numbers";
  /** Indices into `classes`, -1 for none; or numbers, NaN for none. */
  values: Int32Array | Float32Array;
  classes: readonly string[];
  counts: readonly number[];
  range: readonly [number, number];
  threshold: number | null;
  positive: string | null;
  /** Of the map that the values are of. */
  version: string;
}

export function readCloud(buffer: ArrayBuffer): Cloud {
  const tensors = readSafetensors(buffer);
  const { slide_ids, ...facts } = JSON.parse(tensors.metadata.map!) as MapFacts & { slide_ids: string[] };
  const ids = tensors.array("tile_id", "I64");
  return {
    facts,
    ids,
    xy: tensors.array("xy", "F32"),
    slide: tensors.array("slide", "U32"),
    slides: slide_ids,
    order: shuffled(ids.length),
  };
}

export function readColours(buffer: ArrayBuffer): Colours {
  const tensors = readSafetensors(buffer);
  const about = JSON.parse(tensors.metadata.colours!) as Omit<Colours, "values">;
  return { ...about, values: tensors.array("values", about.kind === "classes" ? "I32" : "F32") };
}

/** 0 to n - 1, each once, always in the same disorder. */
export function shuffled(n: number): Uint32Array {
  const order = Uint32Array.from({ length: n }, (_, i) => i);
  let state = 0x9e3779b9;
  for (let i = n - 1; i > 0; i -= 1) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    const other = Math.floor((state / 2 ** 32) * (i + 1));
    [order[i], order[other]] = [order[other]!, order[i]!];
  }
  return order;
}

export interface Point {
  x: number;
  y: number;
}

/** What of the map is on the screen. */
export interface Camera {
  /** Place in the middle of the screen. */
  x: number;
  y: number;
  /** Pixels of a unit of the map. */
  scale: number;
}

/** The whole map in a window of some pixels. */
export function home(width: number, height: number): Camera {
  return { x: 0, y: 0, scale: 0.46 * Math.min(width, height) || 1 };
}

export const MOST_ZOOM = 400;

/** Zoom by a factor so that a place on the screen, counted from its middle, stays where it is. */
export function zoomed(camera: Camera, factor: number, at: Point, least: number): Camera {
  const scale = Math.min(Math.max(camera.scale * factor, 0.8 * least), MOST_ZOOM * least);
  const moved = 1 / camera.scale - 1 / scale;
  return { x: camera.x + at.x * moved, y: camera.y - at.y * moved, scale };
}

/** Where a place on the screen, counted from its middle, lies on the map. */
export function placeAt(camera: Camera, { x, y }: Point): Point {
  return { x: camera.x + x / camera.scale, y: camera.y - y / camera.scale };
}

/** Where a place on the map lies on the screen, counted from its middle. */
export function screenOf(camera: Camera, { x, y }: Point): Point {
  return { x: (x - camera.x) * camera.scale, y: (camera.y - y) * camera.scale };
}

/** Radius of a point, pixels of the device: of fewer tiles, or from nearer, larger. */
export function radiusOf(tiles: number, camera: Camera, least: number, ratio: number): number {
  const far = Math.min(Math.max(90 / Math.sqrt(Math.max(tiles, 1)), 1.1), 6);
  const near = Math.sqrt(camera.scale / least);
  return Math.min(far * Math.max(near, 0.8), 8) * ratio;
}

/** For each row of a disc, how far it reaches from its middle. */
export function discOf(radius: number): Int32Array {
  const reach = Math.max(0, Math.round(radius));
  return Int32Array.from({ length: 2 * reach + 1 }, (_, row) =>
    Math.round(Math.sqrt(Math.max((radius + 0.25) ** 2 - (row - reach) ** 2, 0))),
  );
}

/** Draw points as discs into pixels.
 *
 * 100,000 take a few milliseconds, on any machine: there is no GPU behind many remote desktops, and what draws with
 * one is emulated there at a hundredth of the speed.
 *
 * @param pixels - width × height, packed as an ImageData has them; drawn over.
 * @param camera - In pixels of these.
 * @param colours - Of each point, packed; 0 is not drawn.
 * @param drawn - The points, in their order.
 * @param step - Only every so manieth of them.
 */
export function drawPoints(
  pixels: Uint32Array,
  width: number,
  height: number,
  xy: Float32Array,
  drawn: Uint32Array,
  colours: Uint32Array,
  camera: Camera,
  radius: number,
  step = 1,
): void {
  const disc = discOf(radius);
  const reach = (disc.length - 1) / 2;
  const { scale } = camera;
  const left = width / 2 - camera.x * scale;
  const top = height / 2 + camera.y * scale;
  for (let i = 0; i < drawn.length; i += step) {
    const point = drawn[i]!;
    const colour = colours[point]!;
    if (colour === 0) continue;
    const x = Math.round(left + xy[2 * point]! * scale);
    const y = Math.round(top - xy[2 * point + 1]! * scale);
    if (x < -reach || y < -reach || x >= width + reach || y >= height + reach) continue;
    for (let row = 0; row < disc.length; row += 1) {
      const at = y + row - reach;
      if (at < 0 || at >= height) continue;
      const half = disc[row]!;
      const begin = at * width + Math.max(x - half, 0);
      const end = at * width + Math.min(x + half, width - 1);
      for (let cell = begin; cell <= end; cell += 1) pixels[cell] = colour;
    }
  }
}

/** The point nearest to a place, not farther than `most`; -1 for none. Points whose colour is 0 are not seen. */
export function nearestTo({ xy }: Cloud, { x, y }: Point, most: number, colours: Uint32Array): number {
  let [found, least] = [-1, most * most];
  for (let i = 0; i < colours.length; i += 1) {
    const [across, up] = [xy[2 * i]! - x, xy[2 * i + 1]! - y];
    const distance = across * across + up * up;
    if (distance <= least && colours[i] !== 0) [found, least] = [i, distance];
  }
  return found;
}

/** The points that lie in a polygon of places, those that are seen. */
export function inPolygon({ xy }: Cloud, polygon: readonly Point[], colours: Uint32Array): number[] {
  if (polygon.length < 3) return [];
  const across = polygon.map(({ x }) => x);
  const up = polygon.map(({ y }) => y);
  const [left, right] = [Math.min(...across), Math.max(...across)];
  const [bottom, top] = [Math.min(...up), Math.max(...up)];
  const found: number[] = [];
  for (let i = 0; i < colours.length; i += 1) {
    const [x, y] = [xy[2 * i]!, xy[2 * i + 1]!];
    if (colours[i] === 0 || x < left || x > right || y < bottom || y > top) continue;
    let inside = false;
    for (let a = 0, b = polygon.length - 1; a < polygon.length; b = a, a += 1) {
      if (up[a]! > y !== up[b]! > y && x < ((across[b]! - across[a]!) * (y - up[a]!)) / (up[b]! - up[a]!) + across[a]!)
        inside = !inside;
    }
    if (inside) found.push(i);
  }
  return found;
}

/** The points within a distance of a place, those that are seen. */
export function inCircle({ xy }: Cloud, { x, y }: Point, radius: number, colours: Uint32Array): number[] {
  const found: number[] = [];
  for (let i = 0; i < colours.length; i += 1) {
    const [across, up] = [xy[2 * i]! - x, xy[2 * i + 1]! - y];
    if (colours[i] !== 0 && across * across + up * up <= radius * radius) found.push(i);
  }
  return found;
}
