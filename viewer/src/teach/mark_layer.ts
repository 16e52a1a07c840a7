/** Marks on the slide: squares in the colour of their class, with its letter where there is room. */
import type { ClassLook } from "../design/classes";
import type { Layer, Viewport } from "../viewer/stage.svelte";

export interface MarkSquare {
  x: number;
  y: number;
  edge: number;
  look: ClassLook;
}

/** Edge on the screen from which a square has its letter, and from which it has an edge, CSS pixels. */
const LETTER_PX = 26;
const EDGED_PX = 7;

/** A layer of squares that `squares` gives anew on each frame. */
export function markLayer(squares: () => readonly MarkSquare[]): Layer {
  return {
    name: "marks",
    order: 60,
    draw(context, viewport) {
      for (const square of squares()) draw(context, viewport, square);
      context.globalAlpha = 1;
    },
  };
}

function draw(context: CanvasRenderingContext2D, viewport: Viewport, { x, y, edge, look }: MarkSquare): void {
  const { scale } = viewport;
  const [left, top, size] = [(x - viewport.x) * scale, (y - viewport.y) * scale, edge * scale];
  if (left > viewport.width || top > viewport.height || left + size < 0 || top + size < 0) return;
  context.fillStyle = look.color;
  if (size < EDGED_PX) {
    context.globalAlpha = 0.85;
    context.fillRect(left, top, Math.max(size, 2), Math.max(size, 2));
    return;
  }
  context.globalAlpha = 0.25;
  context.fillRect(left, top, size, size);
  context.globalAlpha = 1;
  const line = Math.min(3, Math.max(1.5, size / 16));
  context.lineWidth = line;
  context.strokeStyle = look.color;
  context.strokeRect(left + line / 2, top + line / 2, size - line, size - line);
  if (size < LETTER_PX) return;
  const high = Math.min(18, Math.max(12, size / 5));
  context.font = `700 ${high * 0.72}px system-ui, sans-serif`;
  context.textAlign = "center";
  context.textBaseline = "middle";
  const wide = Math.max(high, context.measureText(look.letter).width + high * 0.5);
  context.fillStyle = look.color;
  context.fillRect(left, top, wide, high);
  context.fillStyle = look.ink;
  context.fillText(look.letter, left + wide / 2, top + high / 2 + 0.5);
}
