/** The tiles of a slide: where they lie, and which lie at a point, in a rectangle, in a drawn region. */
import { address, request } from "../api/client";
import { readSafetensors } from "../api/safetensors";
import type { Point } from "./stage.svelte";

/** Level-0 pixels. */
export interface Rectangle {
  x: number;
  y: number;
  width: number;
  height: number;
}

const MOST_BUCKETS = 1 << 22;

/** Tiles by number, from 0: by y, then x. Coordinates are level-0 pixels. */
export class SlideTiles {
  readonly count: number;
  /** Edge of the largest tile. */
  readonly edge: number;
  /** What all tiles lie in. */
  readonly bounds: Rectangle;
  // Buckets of `#cell` pixels hold the tiles whose corner lies in them: those of bucket b are
  // #order[#starts[b]] to #order[#starts[b + 1] - 1].
  #cell: number;
  #columns: number;
  #rows: number;
  #starts: Int32Array;
  #order: Int32Array;
  #numbers: Map<bigint, number> | null = null;

  constructor(
    readonly slide: string,
    readonly ids: BigInt64Array,
    readonly x: Int32Array,
    readonly y: Int32Array,
    readonly edges: Int32Array,
    /** Share of each tile that is tissue, 0 to 1. */
    readonly tissue: Float32Array,
  ) {
    this.count = ids.length;
    let [left, top, right, bottom, edge] = [Infinity, Infinity, -Infinity, -Infinity, 1];
    for (let i = 0; i < this.count; i++) {
      const [xi, yi, ei] = [x[i]!, y[i]!, edges[i]!];
      if (xi < left) left = xi;
      if (yi < top) top = yi;
      if (xi + ei > right) right = xi + ei;
      if (yi + ei > bottom) bottom = yi + ei;
      if (ei > edge) edge = ei;
    }
    if (this.count === 0) [left, top, right, bottom] = [0, 0, 0, 0];
    this.edge = edge;
    this.bounds = { x: left, y: top, width: right - left, height: bottom - top };
    this.#cell = edge;
    while ((this.bounds.width / this.#cell + 1) * (this.bounds.height / this.#cell + 1) > MOST_BUCKETS) this.#cell *= 2;
    this.#columns = Math.floor(this.bounds.width / this.#cell) + 1;
    this.#rows = Math.floor(this.bounds.height / this.#cell) + 1;
    this.#starts = new Int32Array(this.#columns * this.#rows + 1);
    this.#order = new Int32Array(this.count);
    const buckets = new Int32Array(this.count);
    for (let i = 0; i < this.count; i++) {
      const row = Math.floor((y[i]! - top) / this.#cell);
      buckets[i] = row * this.#columns + Math.floor((x[i]! - left) / this.#cell);
      this.#starts[buckets[i]! + 1]!++;
    }
    for (let b = 0; b < this.#columns * this.#rows; b++) this.#starts[b + 1]! += this.#starts[b]!;
    const next = this.#starts.slice();
    for (let i = 0; i < this.count; i++) this.#order[next[buckets[i]!]!++] = i;
  }

  static from(slide: string, buffer: ArrayBuffer): SlideTiles {
    const tensors = readSafetensors(buffer);
    const int = (name: string) => tensors.array(name, "I32");
    const tissue = tensors.array("tissue", "F32");
    return new SlideTiles(slide, tensors.array("tile_id", "I64"), int("x"), int("y"), int("edge_l0"), tissue);
  }

  /** The id of a tile, as routes take and give it. */
  id(tile: number): string {
    return String(this.ids[tile]);
  }

  /** The number of the tile with an id; -1 if it is not of this slide. */
  numberOf(id: string | bigint): number {
    this.#numbers ??= new Map(Array.from(this.ids, (each, i) => [each, i]));
    return this.#numbers.get(BigInt(id)) ?? -1;
  }

  rectangle(tile: number): Rectangle {
    const edge = this.edges[tile]!;
    return { x: this.x[tile]!, y: this.y[tile]!, width: edge, height: edge };
  }

  centre(tile: number): Point {
    const half = this.edges[tile]! / 2;
    return { x: this.x[tile]! + half, y: this.y[tile]! + half };
  }

  /** The tile that holds a point, of several the one with the nearest centre; -1 for none. */
  at({ x, y }: Point): number {
    let [found, nearest] = [-1, Infinity];
    this.forEachIn({ x, y, width: 0, height: 0 }, (tile) => {
      const edge = this.edges[tile]!;
      if (x >= this.x[tile]! + edge || y >= this.y[tile]! + edge) return;
      const centre = this.centre(tile);
      const distance = (x - centre.x) ** 2 + (y - centre.y) ** 2;
      if (distance < nearest) [found, nearest] = [tile, distance];
    });
    return found;
  }

  /** Call a function with each tile that touches a rectangle; such as those on the screen. */
  forEachIn({ x, y, width, height }: Rectangle, call: (tile: number) => void): void {
    const { x: left, y: top } = this.bounds;
    const bucket = (distance: number, last: number) => Math.min(last, Math.max(0, Math.floor(distance / this.#cell)));
    const [firstColumn, lastColumn] = [x - this.edge - left, x + width - left].map((d) => bucket(d, this.#columns - 1));
    const [firstRow, lastRow] = [y - this.edge - top, y + height - top].map((d) => bucket(d, this.#rows - 1));
    for (let row = firstRow!; row <= lastRow!; row++) {
      const begin = this.#starts[row * this.#columns + firstColumn!]!;
      const end = this.#starts[row * this.#columns + lastColumn! + 1]!;
      for (let i = begin; i < end; i++) {
        const tile = this.#order[i]!;
        const [tx, ty, edge] = [this.x[tile]!, this.y[tile]!, this.edges[tile]!];
        if (tx <= x + width && tx + edge >= x && ty <= y + height && ty + edge >= y) call(tile);
      }
    }
  }

  /** The tiles whose centre lies in a rectangle. */
  inRectangle(rectangle: Rectangle): number[] {
    const { x, y, width, height } = rectangle;
    const found: number[] = [];
    this.forEachIn(rectangle, (tile) => {
      const centre = this.centre(tile);
      if (centre.x >= x && centre.x < x + width && centre.y >= y && centre.y < y + height) found.push(tile);
    });
    return found;
  }

  /** The tiles whose centre lies in a polygon, by the even-odd rule. */
  inPolygon(corners: readonly Point[]): number[] {
    return this.inRectangle(boundsOf(corners)).filter((tile) => isInside(this.centre(tile), corners));
  }
}

/** The rectangle around some points. */
export function boundsOf(points: readonly Point[]): Rectangle {
  const [xs, ys] = [points.map(({ x }) => x), points.map(({ y }) => y)];
  const [x, y] = [Math.min(...xs), Math.min(...ys)];
  return { x, y, width: Math.max(...xs) - x, height: Math.max(...ys) - y };
}

/** Whether a point lies in a polygon, by the even-odd rule. */
export function isInside({ x, y }: Point, corners: readonly Point[]): boolean {
  let inside = false;
  corners.forEach((a, i) => {
    const b = corners.at(i - 1)!;
    if (a.y > y !== b.y > y && x < ((b.x - a.x) * (y - a.y)) / (b.y - a.y) + a.x) inside = !inside;
  });
  return inside;
}

/** Slides whose tiles are kept: a few megabytes each. */
const MOST_KEPT = 4;
const kept = new Map<string, Promise<SlideTiles>>();

/** The tiles of a slide in a collection. Those of the last few slides are kept. */
export function slideTiles(collection: string, slide: string): Promise<SlideTiles> {
  const key = JSON.stringify([collection, slide]);
  const tiles = kept.get(key) ?? load(collection, slide);
  kept.delete(key);
  kept.set(key, tiles); // as the last one
  tiles.catch(() => kept.delete(key));
  for (const oldest of [...kept.keys()].slice(0, -MOST_KEPT)) kept.delete(oldest);
  return tiles;
}

async function load(collection: string, slide: string): Promise<SlideTiles> {
  const answer = await request(address`/api/collections/${collection}/slides/${slide}/tile-grid`);
  return SlideTiles.from(slide, await answer.arrayBuffer());
}
