/** A slide on the screen: its facts, where one looks, and the layers that are drawn over it. */
import { untrack } from "svelte";

import type { Schemas } from "../api/client";
import { Registry } from "../state/registry.svelte";
import { Look } from "./look.svelte";
import type { SlideTiles } from "./tiles.svelte";

export type SlideFacts = Schemas["DeepZoomAnswer"];

/** What is on the screen, in level-0 pixels of the slide. */
export interface Viewport {
  /** Level-0 coordinates of the screen's top-left corner. */
  x: number;
  y: number;
  /** CSS pixels per level-0 pixel. */
  scale: number;
  /** Size of the screen, CSS pixels. */
  width: number;
  height: number;
}

/** Something that is drawn over the slide. */
export interface Layer {
  name: string;
  /** Lower ones are drawn first. */
  order: number;
  /** Called on each frame while the view moves: in CSS pixels, with the viewport to place things by. */
  draw(context: CanvasRenderingContext2D, viewport: Viewport): void;
  /** What is under the pointer, for the status line: `dense nuclei 0.87`. */
  tell?(position: Point, tile: number): string | null;
}

/** What the pointer does on the slide. Space lets it pan all the same, Escape cancels, and puts the tool down. */
export interface Tool {
  name: string;
  cursor: string;
  /** Positions are level-0 pixels. A tool that returns true from `down` has the pointer until `up`: no panning. */
  down?(position: Point, event: PointerEvent): boolean;
  move?(position: Point, event: PointerEvent): void;
  up?(position: Point, event: PointerEvent): void;
  /** What was begun by `down` shall not be done. */
  cancel?(): void;
  /** A press and release at one place, unless `down` took the pointer. */
  click?(position: Point, event: PointerEvent): void;
}

export interface Point {
  x: number;
  y: number;
}

export class Stage {
  viewport: Viewport = $state.raw({ x: 0, y: 0, scale: 1, width: 1, height: 1 });
  /** Where the pointer is, level-0 pixels; null beside the slide. */
  pointer: Point | null = $state.raw(null);
  #layers = new Registry<Layer>();
  tool: Tool | null = $state.raw(null);
  /** The tiles of the slide in the collection that is looked at; null while they are loaded. */
  tiles: SlideTiles | null = $state.raw(null);
  tilesError: Error | null = $state.raw(null);
  /** Something of the slide's picture has come. */
  hasPicture: boolean = $state(false);
  /** Why parts of the picture are missing or blurred. */
  pictureError: Error | null = $state.raw(null);
  /** Set by the viewer: the slide is on the screen, and `viewport` tells where. */
  isShown = $state(false);
  #waiting: ((tiles: SlideTiles) => void) | null = $state.raw(null);
  /** Which layers are shown, and how. */
  readonly look = new Look(this);
  /** Set by the viewer: fly to a level-0 position, with `scale` CSS pixels per level-0 pixel. */
  goTo: (position: Point, scale?: number) => void = () => {};
  /** Set by the viewer: show the whole slide. */
  goHome: () => void = () => {};
  /** Set by the viewer: draw the layers again with the next frame. */
  redraw: () => void = () => {};
  /** Set by the viewer: what is on the screen, slide and layers, as a picture. */
  picture: () => Promise<Blob> = () => Promise.reject(new Error("The slide is not shown."));

  constructor(
    readonly slide: string,
    readonly facts: SlideFacts,
  ) {}

  /** The middle of the screen, level-0 pixels. */
  get centre(): Point {
    const { x, y, width, height, scale } = this.viewport;
    return { x: x + width / scale / 2, y: y + height / scale / 2 };
  }

  /** The number of the tile under the pointer; -1 for none. */
  get tileAtPointer(): number {
    return this.pointer && this.tiles ? this.tiles.at(this.pointer) : -1;
  }

  /** Call a function with the tiles: as soon as they are here and the slide is shown, if that is the last one asked for. */
  withTiles(call: (tiles: SlideTiles) => void): void {
    this.#waiting = call;
    this.callWaiting();
  }

  /** Called in an effect, which runs again when the tiles or the slide come. */
  callWaiting(): void {
    const [call, tiles] = [this.#waiting, this.tiles];
    if (!call || !tiles || !this.isShown) return;
    this.#waiting = null;
    untrack(() => call(tiles));
  }

  /** Draw a layer until what is returned is called: `$effect(() => stage.add(layer))`. */
  add(layer: Layer): () => void {
    const remove = this.#layers.add(layer);
    this.redraw();
    return () => {
      remove();
      this.redraw();
    };
  }

  get layers(): readonly Layer[] {
    return this.#layers.all.toSorted((a, b) => a.order - b.order);
  }
}

/** Where a level-0 position is on the screen, CSS pixels from the corner of the slide's view. */
export function onScreen({ x, y }: Point, viewport: Viewport): Point {
  return { x: (x - viewport.x) * viewport.scale, y: (y - viewport.y) * viewport.scale };
}
