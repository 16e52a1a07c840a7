/** Two layers of lines: the grid of tiles, where they are large enough on the screen, and the outline of the tissue. */
import { cellLines, traceLines, type Lines } from "./cells";
import type { Look } from "./look.svelte";
import type { Stage, Viewport } from "./stage.svelte";

/** Edge of a tile on the screen from which the grid is drawn, CSS pixels. */
const LEAST_TILE_PX = 6;
const OUTLINE = "#0b6b5d";

export function showCells(stage: Stage, look: Look): void {
  const isWanted = $derived(look.isShown("grid") || look.isShown("tissue"));
  const lines = $derived(isWanted && stage.tiles ? cellLines(stage.tiles) : null);
  $effect(() => {
    if (!lines || !look.isShown("grid")) return;
    const edge = stage.tiles!.edge;
    const draw = (context: CanvasRenderingContext2D, viewport: Viewport) => {
      if (edge * viewport.scale >= LEAST_TILE_PX) stroke(context, viewport, lines.grid, ["#0008", 1]);
    };
    return stage.add({ name: "grid", order: 20, draw });
  });
  $effect(() => {
    if (!lines || !look.isShown("tissue")) return;
    const draw = (context: CanvasRenderingContext2D, viewport: Viewport) =>
      stroke(context, viewport, lines.outline, ["#fffc", 4], [OUTLINE, 2]);
    return stage.add({ name: "tissue", order: 30, draw });
  });
}

function stroke(
  context: CanvasRenderingContext2D,
  viewport: Viewport,
  lines: Lines,
  ...styles: [string, number][]
): void {
  context.beginPath();
  traceLines(context, lines, viewport);
  context.lineCap = "square";
  for (const [color, width] of styles) {
    context.strokeStyle = color;
    context.lineWidth = width;
    context.stroke();
  }
}
