/** What a head says of the tiles of a slide: a value a tile, coloured here, so that a slider needs no request. */
import { address, request } from "../api/client";
import { readSafetensors } from "../api/safetensors";
import { heatTable, MOST_BYTE, pixel, type Rgb } from "./colours";
import type { Point, Viewport } from "./stage.svelte";

/** Of the header of a raster. */
interface RasterFacts {
  head: string;
  task: string;
  level: "tile" | "slide" | "patient";
  planes: string[];
  positive: string | null;
  thresholds: Record<string, number>;
  origin_l0: [number, number];
  step_l0: number;
  edge_l0: number;
  rows: number;
  columns: number;
}

export class HeatMap {
  /** One pixel a tile. */
  readonly canvas: HTMLCanvasElement | null = null;
  #pixels: ImageData | null = null;
  #painted = "";

  constructor(
    readonly facts: RasterFacts,
    /** Planes by rows by columns: 0 to 254 for 0 to 1, 255 for no tile. */
    readonly values: Uint8Array,
    /** Rows by columns: the class decided on, -1 for none. */
    readonly decided: Int16Array,
  ) {}

  static from(buffer: ArrayBuffer): HeatMap {
    const tensors = readSafetensors(buffer);
    const facts = JSON.parse(tensors.metadata.raster!) as RasterFacts;
    return new HeatMap(facts, tensors.array("values", "U8"), tensors.array("decided", "I16"));
  }

  /** The same values, to be coloured in another way. */
  copy(): HeatMap {
    return new HeatMap(this.facts, this.values, this.decided);
  }

  /** The plane of a class; of the positive one, or the first, where there is none of that name. */
  plane(name: string | undefined): number {
    const { planes, positive } = this.facts;
    return Math.max(0, planes.indexOf(planes.includes(name ?? "") ? name! : (positive ?? planes[0]!)));
  }

  /** The cell of the raster that holds a point; -1 beside it. */
  cell({ x, y }: Point): number {
    const { origin_l0, step_l0, columns, rows } = this.facts;
    const inset = this.inset;
    const [column, row] = [x - origin_l0[0] - inset, y - origin_l0[1] - inset].map((d) => Math.floor(d / step_l0));
    return column! >= 0 && row! >= 0 && column! < columns && row! < rows ? row! * columns + column! : -1;
  }

  /** Where tiles overlap, each is shown as its middle: what lies between its corner and that of its cell. */
  get inset(): number {
    return (this.facts.edge_l0 - this.facts.step_l0) / 2;
  }

  /** The value of a plane in a cell, 0 to 1; null where no tile is. */
  value(plane: number, cell: number): number | null {
    const byte = this.values[plane * this.decided.length + cell] ?? 255;
    return cell < 0 || byte > MOST_BYTE ? null : byte / MOST_BYTE;
  }

  /** The class decided on in a cell; null for none. */
  decision(cell: number): number | null {
    const decided = this.decided[cell] ?? -1;
    return decided < 0 ? null : decided;
  }

  /** The classes that are decided on somewhere, in the order of their planes. */
  get decisions(): number[] {
    return [...new Set(this.decided)].filter((plane) => plane >= 0).sort((a, b) => a - b);
  }

  /** Pixels of a plane, as RGBA in 32 bits; below the threshold and where no tile is they are transparent. */
  pixelsOf(plane: number, threshold: number, into: Uint32Array): void {
    const table = heatTable(threshold);
    const [first, count] = [plane * this.decided.length, this.decided.length];
    for (let i = 0; i < count; i++) into[i] = table[this.values[first + i]!]!;
  }

  /** Pixels in the colour of the class decided on, where its probability reaches the threshold. */
  pixelsOfClasses(colours: readonly Rgb[], threshold: number, into: Uint32Array): void {
    const table = Uint32Array.from(colours, pixel);
    const [least, count] = [threshold * MOST_BYTE, this.decided.length];
    for (let i = 0; i < count; i++) {
      const decided = this.decided[i]!;
      into[i] = decided >= 0 && this.values[decided * count + i]! >= least ? table[decided]! : 0;
    }
  }

  /** Colour the canvas: of one plane, or of all by the class decided on. */
  paint(shown: number | readonly Rgb[], threshold: number): void {
    const asked = JSON.stringify([shown, threshold]);
    if (asked === this.#painted) return;
    this.#painted = asked;
    const { columns, rows } = this.facts;
    const canvas = (this.canvas ??
      Object.assign(document.createElement("canvas"), { width: columns, height: rows })) as HTMLCanvasElement;
    (this as { canvas: HTMLCanvasElement }).canvas = canvas;
    this.#pixels ??= new ImageData(columns, rows);
    const into = new Uint32Array(this.#pixels.data.buffer);
    if (typeof shown === "number") this.pixelsOf(shown, threshold, into);
    else this.pixelsOfClasses(shown, threshold, into);
    canvas.getContext("2d")!.putImageData(this.#pixels, 0, 0);
  }

  /** Draw what is painted where it lies on the screen: the part that can be seen. */
  draw(context: CanvasRenderingContext2D, viewport: Viewport): void {
    if (!this.canvas) return;
    const { origin_l0, step_l0, columns, rows } = this.facts;
    const [left, top] = [origin_l0[0] + this.inset, origin_l0[1] + this.inset];
    const span = (corner: number, start: number, size: number, most: number): [number, number] => {
      const first = Math.max(0, Math.floor((start - corner) / step_l0));
      const last = Math.min(most, Math.ceil((start + size / viewport.scale - corner) / step_l0));
      return [first, last - first];
    };
    const [column, across] = span(left, viewport.x, viewport.width, columns);
    const [row, down] = span(top, viewport.y, viewport.height, rows);
    if (across <= 0 || down <= 0) return;
    const size = step_l0 * viewport.scale;
    const [x, y] = [(left - viewport.x) * viewport.scale, (top - viewport.y) * viewport.scale];
    context.imageSmoothingEnabled = false;
    context.drawImage(
      this.canvas, column, row, across, down, x + column * size, y + row * size, across * size, down * size,
    ); // prettier-ignore
  }
}

/** Rasters that are kept, of the last heads and slides. */
const MOST_KEPT = 12;
const kept = new Map<string, Promise<HeatMap>>();

/** The values of a head on a slide; with another `revision` they are asked for again. */
export function heatMap(head: string, slide: string, revision: string): Promise<HeatMap> {
  const key = JSON.stringify([head, slide, revision]);
  const map = kept.get(key) ?? load(head, slide);
  kept.delete(key);
  kept.set(key, map);
  map.catch(() => kept.delete(key));
  for (const oldest of [...kept.keys()].slice(0, -MOST_KEPT)) kept.delete(oldest);
  return map;
}

async function load(head: string, slide: string): Promise<HeatMap> {
  const answer = await request(address`/api/heads/${head}/predictions/${slide}/raster`);
  return HeatMap.from(await answer.arrayBuffer());
}
