/** Tiles that are shown as a strip: what is known of them, what can be done with them, and which are chosen. */
import type { Component } from "svelte";

/** A tile of the chosen collection; coordinates are level-0 pixels. */
export interface TileItem {
  tile_id: string;
  slide_id: string;
  x: number;
  y: number;
  /** Edge on level 0; 0 of a ready-made tile, which lies nowhere. */
  edge_l0: number;
  patient?: string | null;
  /** File of a ready-made tile. */
  name?: string | null;
  /** 1 - cosine, 0 to 2. */
  distance?: number;
  probability?: number;
  score?: number;
}

/** What a tile is marked as: told by colour, letter and name. */
export interface Mark {
  label: string;
  letter: string;
  color: string;
}

/** A key that does something with the chosen tiles; with the one under the pointer or the focus where none is chosen. */
export interface StripKey {
  key: string;
  does: string;
  act: (tiles: TileItem[]) => void;
}

/** What the dock shows as one of its strips. An object whose fields are reactive, such as an instance of a class. */
export interface StripContent {
  /** Names its tab; one that is shown again replaces the one before. */
  readonly name: string;
  readonly title: string;
  /** The first MOST_TILES are shown. */
  readonly tiles: readonly TileItem[];
  /** While it is loading, the tiles before stay. */
  readonly status: "ready" | "loading" | "failed";
  readonly error?: Error | null;
  /** What to do where there are no tiles. */
  readonly empty: string;
  readonly keys?: readonly StripKey[];
  /** A line under the picture; distance, probability or score where it is left out. */
  captionOf?(tile: TileItem): string;
  markOf?(tile: TileItem): Mark | null | undefined;
  /** Opened by a click or Enter; `openTile` where it is left out. */
  open?(tile: TileItem): void;
  onselect?(tiles: TileItem[]): void;
  onclose?(): void;
  /** Controls in the head of the dock. */
  readonly Bar?: Component;
}

export const MOST_TILES = 500;

/** "0.031", "p 0.97": the number that a strip is sorted by. */
export function numberOf({ probability, score, distance }: TileItem): string {
  if (probability !== undefined) return `p ${probability.toFixed(2)}`;
  if (score !== undefined) return score.toFixed(2);
  return distance === undefined ? "" : distance.toFixed(3);
}

/** What that number means. */
export function numberWords({ probability, score, distance }: TileItem): string | undefined {
  if (probability !== undefined || score !== undefined || distance === undefined) return undefined;
  return "Distance from what was searched by: 0 looks the same, larger numbers look less alike";
}

/** How much of the beginning of all names is the same word by word, and need not be shown. */
export function samePart(names: readonly string[]): number {
  const [first = ""] = names;
  if (new Set(names).size < 2) return 0;
  let length = 0;
  while (names.every((name) => name[length] === first[length])) length += 1;
  return first.slice(0, length).search(/[^\p{L}\p{N}][\p{L}\p{N}]*$/u) + 1;
}

/** A tile in words, for those who hear the page. */
export function tileTitle(tile: TileItem, rank: number, caption: string, mark?: Mark | null): string {
  const place = tile.edge_l0 ? `${tile.x}, ${tile.y}` : (tile.name ?? tile.tile_id);
  return [`Tile ${rank}`, `${tile.slide_id} at ${place}`, caption, mark && `marked ${mark.label}`]
    .filter(Boolean)
    .join(", ");
}

const STEPS: Record<string, (columns: number) => number> = {
  ArrowLeft: () => -1,
  ArrowRight: () => 1,
  ArrowUp: (columns) => -columns,
  ArrowDown: (columns) => columns,
};

/** Where a key leads in a grid of `count` items; null where it leads nowhere. */
export function moved(key: string, at: number, count: number, columns: number): number | null {
  if (key === "Home") return 0;
  if (key === "End") return count - 1;
  const step = STEPS[key]?.(columns);
  if (step === undefined) return null;
  const next = at + step;
  return next >= 0 && next < count ? next : null;
}

/** The ids from one item to another, both included. */
export function between(ids: readonly string[], from: number, to: number): string[] {
  return ids.slice(Math.min(from, to), Math.max(from, to) + 1);
}

export function toggled(chosen: ReadonlySet<string>, id: string): Set<string> {
  const next = new Set(chosen);
  if (!next.delete(id)) next.add(id);
  return next;
}

export interface Box {
  left: number;
  top: number;
  right: number;
  bottom: number;
}

export function boxOf(a: { x: number; y: number }, b: { x: number; y: number }): Box {
  return {
    left: Math.min(a.x, b.x),
    top: Math.min(a.y, b.y),
    right: Math.max(a.x, b.x),
    bottom: Math.max(a.y, b.y),
  };
}

export function overlap(a: Box, b: Box): boolean {
  return a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
}
