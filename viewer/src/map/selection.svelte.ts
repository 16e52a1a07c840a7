/** The tiles that were chosen on the map, and the strip that shows some of them. */
import { untrack } from "svelte";

import { body, client } from "../api/client";
import { connection } from "../state/connection.svelte";
import { marks } from "../state/marks.svelte";
import { store } from "../state/store.svelte";
import { dock } from "../strip/dock.svelte";
import type { Mark, StripContent, StripKey, TileItem } from "../strip/tiles";
import type { Cloud } from "./cloud";
import SelectionBar from "./SelectionBar.svelte";

/** Tiles of a choice that are shown. */
export const SHOWN = 200;
/** Tiles that are marked at once; their places are asked for, some at a time. */
export const MOST_MARKED = 5000;
/** Some proxies take no longer addresses. */
const ASKED_AT_ONCE = 200;

class MapSelection implements StripContent {
  readonly name = "map";
  readonly empty = "Draw around some points with the lasso, or choose a class in the legend.";
  readonly Bar = SelectionBar;
  tiles: readonly TileItem[] = $state.raw([]);
  status: "ready" | "loading" | "failed" = $state("ready");
  error: Error | null = $state.raw(null);
  /** The chosen points of the cloud. */
  points: ReadonlySet<number> = $state.raw(new Set());
  /** While all of them are being marked. */
  marking: boolean = $state(false);
  #cloud: Cloud | null = null;
  #collection = "";
  #asked = 0;

  get title(): string {
    const all = this.points.size.toLocaleString("en");
    return this.points.size > SHOWN
      ? `${all} tiles of the map, of which ${SHOWN} are shown`
      : `${all} tiles of the map`;
  }

  get keys(): readonly StripKey[] {
    return marks.stripKeys;
  }

  markOf(tile: TileItem): Mark | null {
    return marks.markOf(tile);
  }

  onclose(): void {
    this.#asked += 1;
    this.points = new Set();
    this.tiles = [];
  }

  /** Choose points of a cloud, and show a sample of their tiles. */
  async choose(cloud: Cloud, points: Iterable<number>): Promise<void> {
    const asked = ++this.#asked;
    this.#cloud = cloud;
    this.#collection = store.collection?.name ?? "";
    this.points = new Set(points);
    if (this.points.size === 0) return void dock.close(this.name);
    this.status = "loading";
    dock.show(this as StripContent);
    try {
      const tiles = await tilesOf(this.#some(SHOWN));
      if (asked !== this.#asked) return;
      this.tiles = tiles;
      this.status = "ready";
    } catch (error) {
      if (asked !== this.#asked) return;
      this.error = error as Error;
      this.status = "failed";
    }
  }

  /** Ask for the tiles again where that failed. */
  chooseAgain(): void {
    if (this.status === "failed" && this.#cloud && this.points.size) void this.choose(this.#cloud, this.points);
  }

  /** Close the strip where its tiles are of another collection. */
  closeIfOther(collection: string): void {
    if (collection !== this.#collection && dock.strips.includes(this as StripContent)) dock.close(this.name);
  }

  /** Mark all chosen tiles, up to MOST_MARKED of them; null takes the marks away. */
  async markAll(label: string | null): Promise<void> {
    this.marking = true;
    try {
      marks.mark(this.points.size <= this.tiles.length ? this.tiles : await tilesOf(this.#some(MOST_MARKED)), label);
    } catch (error) {
      this.error = error as Error;
      this.status = "failed";
    } finally {
      this.marking = false;
    }
  }

  /** Ids of some of the chosen tiles, drawn evenly from them. */
  #some(most: number): string[] {
    const cloud = this.#cloud!;
    const chosen = this.points.size > most ? cloud.order.filter((point) => this.points.has(point)) : this.points;
    return [...chosen].slice(0, most).map((point) => String(cloud.ids[point]));
  }
}

/** Where tiles of the chosen collection lie. */
export async function tilesOf(ids: readonly string[]): Promise<TileItem[]> {
  const collection = store.collection?.name ?? "";
  const found: TileItem[] = [];
  for (let at = 0; at < ids.length; at += ASKED_AT_ONCE) {
    const some = ids.slice(at, at + ASKED_AT_ONCE);
    const query = { where: `tile_id IN (${some.join(",")})`, limit: some.length };
    const answer = await body(
      client.GET("/api/collections/{collection}/tiles", { params: { path: { collection }, query } }),
    );
    found.push(...(answer.rows as unknown as TileItem[]));
  }
  return found;
}

export const selection = new MapSelection();

if (globalThis.document) {
  $effect.root(() => {
    $effect(() => {
      const collection = store.collection?.name ?? "";
      untrack(() => selection.closeIfOther(collection));
    });
    $effect(() => {
      void connection.returned;
      untrack(() => selection.chooseAgain());
    });
  });
}
