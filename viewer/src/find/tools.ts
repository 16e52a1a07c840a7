/** What the pointer does on a slide to search: a click takes a tile, a drawn box or outline the tiles in it. */
import type { Layer, Point, Stage, Tool, Viewport } from "../viewer/stage.svelte";
import type { SlideTiles } from "../viewer/tiles.svelte";
import { find } from "./find.svelte";

/** Most tiles of an outline that are searched by: those beyond are spread over it. */
const MOST_TILES = 100;

/** The tool that is there while no other is: it pans, and a click searches by the tile. */
export function pickTool(stage: Stage): Tool {
  return {
    name: "pick",
    cursor: "default",
    click(position) {
      stage.withTiles((tiles) => findTile(tiles, tiles.at(position)));
    },
  };
}

/** Search by a tile of the open slide, given its number; by nothing if that is -1. */
export function findTile(tiles: SlideTiles, tile: number): void {
  if (tile < 0) return;
  const { x, y, width } = tiles.rectangle(tile);
  find.byTile(tiles.id(tile), `${x},${y},${width}`);
}

type Shape = "box" | "outline";

/** Draws a region, searches by the tiles in it, and puts itself down. */
export class RegionTool implements Tool, Layer {
  readonly cursor = "crosshair";
  readonly order = 95;
  #corners: Point[] = [];
  #remove: (() => void) | null = null;

  constructor(
    readonly stage: Stage,
    readonly shape: Shape,
    readonly done: (error: string) => void,
  ) {}

  get name(): string {
    return this.shape;
  }

  down(position: Point): boolean {
    this.cancel();
    this.#corners = [position];
    this.#remove = this.stage.add(this);
    return true;
  }

  move(position: Point): void {
    if (this.#corners.length === 0) return;
    this.#corners = this.shape === "box" ? [this.#corners[0]!, position] : [...this.#corners, position];
    this.stage.redraw();
  }

  up(): void {
    const corners = this.#corners;
    this.cancel();
    if (corners.length < 2) return;
    this.stage.withTiles((tiles) =>
      this.done(this.shape === "box" ? this.#byBox(corners, tiles) : this.#byOutline(corners, tiles)),
    );
  }

  cancel(): void {
    this.#corners = [];
    this.#remove?.();
    this.#remove = null;
  }

  #byBox([a, b]: Point[], tiles: SlideTiles): string {
    const [x, y] = [Math.floor(Math.min(a!.x, b!.x)), Math.floor(Math.min(a!.y, b!.y))];
    const [width, height] = [Math.ceil(Math.abs(a!.x - b!.x)), Math.ceil(Math.abs(a!.y - b!.y))];
    if (tiles.inRectangle({ x, y, width, height }).length === 0) return NOTHING;
    find.byRegion(this.stage.slide, [x, y, width, height]);
    return "";
  }

  #byOutline(corners: Point[], tiles: SlideTiles): string {
    const inside = tiles.inPolygon(corners);
    if (inside.length === 0) return NOTHING;
    find.byTiles(spread(inside, MOST_TILES).map((tile) => tiles.id(tile)));
    return "";
  }

  draw(context: CanvasRenderingContext2D, { x, y, scale }: Viewport): void {
    const [a, b] = [this.#corners[0], this.#corners.at(-1)];
    if (!a || !b) return;
    const corners = this.shape === "box" ? [a, { x: b.x, y: a.y }, b, { x: a.x, y: b.y }] : this.#corners;
    context.beginPath();
    for (const corner of corners) context.lineTo((corner.x - x) * scale, (corner.y - y) * scale);
    context.closePath();
    context.fillStyle = "#ffd50033";
    context.fill();
    for (const [width, color] of [
      [4, "#000"],
      [2, "#ffd500"],
    ] as const) {
      context.lineWidth = width;
      context.strokeStyle = color;
      context.stroke();
    }
  }
}

const NOTHING = "No tile has its centre there. Draw a larger region, over tissue.";

/** At most `most` of some things, evenly spread over their order. */
export function spread<T>(all: readonly T[], most: number): T[] {
  if (all.length <= most) return [...all];
  return Array.from({ length: most }, (_, i) => all[Math.floor((i * all.length) / most)]!);
}
