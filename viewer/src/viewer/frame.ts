/** The frame around the tile that a link or a strip has opened. */
import type { Layer, Viewport } from "./stage.svelte";

/** A layer that frames the tile "x,y,edge", level-0 pixels. */
export function frameLayer(text: string): Layer | null {
  const [x, y, edge] = text.split(",").map(Number);
  if (![x, y, edge].every(Number.isFinite) || !edge) return null;
  return {
    name: "frame",
    order: 90,
    draw(context: CanvasRenderingContext2D, viewport: Viewport) {
      const { scale } = viewport;
      const size = edge! * scale;
      const [left, top] = [(x! - viewport.x) * scale, (y! - viewport.y) * scale];
      for (const [width, color] of [
        [5, "#000"],
        [2.5, "#ffd500"],
      ] as const) {
        context.lineWidth = width;
        context.strokeStyle = color;
        context.strokeRect(left, top, size, size);
      }
    },
  };
}
