/** Tools that mark tiles on the slide: paint over them, or draw a box around them. */
import type { Point, Tool } from "../viewer/stage.svelte";
import { boundsOf, type SlideTiles } from "../viewer/tiles.svelte";

export type ToolName = "paint" | "box" | "erase";

interface Marking {
  tiles: SlideTiles;
  /** Mark the tiles; as one step. */
  mark: (tiles: readonly number[], erase: boolean) => void;
  /** Show what would be marked; null when there is nothing any more. */
  preview: (tiles: readonly number[] | null, erase: boolean, box?: readonly [Point, Point]) => void;
}

/** The tiles along a way of the pointer, which leaps where the hand is quick. */
export function tilesAlong(tiles: SlideTiles, from: Point, to: Point): number[] {
  const step = tiles.edge / 3;
  const count = Math.max(1, Math.ceil(Math.hypot(to.x - from.x, to.y - from.y) / step));
  const found = new Set<number>();
  for (let i = 0; i <= count; i++) {
    const share = i / count;
    found.add(tiles.at({ x: from.x + share * (to.x - from.x), y: from.y + share * (to.y - from.y) }));
  }
  found.delete(-1);
  return [...found];
}

/** A tool; with Alt down it takes marks away. A click marks one tile. */
export function markTool(name: ToolName, { tiles, mark, preview }: Marking): Tool {
  let touched = new Set<number>();
  let start: Point = { x: 0, y: 0 };
  let last: Point = start;
  let erase = false;

  const end = () => {
    touched = new Set();
    preview(null, erase);
  };
  const touch = (to: Point) => {
    if (name === "box") {
      const found = isPoint(start, to)
        ? [tiles.at(to)].filter((tile) => tile >= 0)
        : tiles.inRectangle(boundsOf([start, to]));
      touched = new Set(found);
      preview(found, erase, [start, to]);
    } else {
      for (const tile of tilesAlong(tiles, last, to)) touched.add(tile);
      last = to;
      preview([...touched], erase);
    }
  };
  const isPoint = (a: Point, b: Point) => Math.max(Math.abs(a.x - b.x), Math.abs(a.y - b.y)) < tiles.edge / 8;

  return {
    name,
    cursor: name === "box" ? "crosshair" : "cell",
    down(position, event) {
      if (event.button !== 0) return false;
      erase = name === "erase" || event.altKey;
      start = last = position;
      touch(position);
      return true;
    },
    move: (position) => touch(position),
    up(position) {
      touch(position);
      const marked = [...touched];
      end();
      if (marked.length) mark(marked, erase);
    },
    cancel: end,
  };
}
