/** A slide on the screen: its facts, where one looks, and the layers that are drawn over it. */
import { untrack } from "svelte";

import type { Schemas } from "../api/client";

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

/** Something that is drawn over the slide; `draw` is called on each frame while the view moves. */
export interface Layer {
  name: string;
  /** Lower ones are drawn first. */
  order: number;
  draw(context: CanvasRenderingContext2D, viewport: Viewport): void;
}

/** What the pointer does on the slide. */
export interface Tool {
  name: string;
  cursor: string;
  /** Positions are level-0 pixels. A tool that returns true from `down` has the pointer until it is up: no panning. */
  down?(position: Point, event: PointerEvent): boolean;
  move?(position: Point, event: PointerEvent): void;
  up?(position: Point, event: PointerEvent): void;
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
  layers: Layer[] = $state.raw([]);
  tool: Tool | null = $state.raw(null);
  /** Set by the viewer: fly to a level-0 position, with `scale` CSS pixels per level-0 pixel. */
  goTo: (position: Point, scale?: number) => void = () => {};
  /** Set by the viewer: draw the layers again. */
  redraw: () => void = () => {};

  constructor(
    readonly slide: string,
    readonly facts: SlideFacts,
  ) {}

  /** Draw a layer until what is returned is called: `$effect(() => stage.add(layer))`. */
  add(layer: Layer): () => void {
    untrack(() => (this.layers = [...this.layers, layer].sort((a, b) => a.order - b.order)));
    this.redraw();
    return () => {
      this.layers = this.layers.filter((each) => each !== layer);
      this.redraw();
    };
  }
}
