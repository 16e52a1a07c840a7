/** The search that the address tells, and what it found. */
import { untrack } from "svelte";

import { address, body, client, request, type Schemas } from "../api/client";
import { connection } from "../state/connection.svelte";
import { marks } from "../state/marks.svelte";
import { place } from "../state/place.svelte";
import { store } from "../state/store.svelte";
import { dock } from "../strip/dock.svelte";
import type { Mark, StripContent, StripKey, TileItem } from "../strip/tiles";
import FindBar from "./FindBar.svelte";
import { keepName, nameOf, packed, unpacked } from "./image_vector";
import {
  bodyOf,
  filtersOf,
  filtersText,
  judged,
  queryOf,
  textOf,
  type Filters,
  type FindQuery,
  type Start,
} from "./query";

/** Of an extractor's digest, so much is in an address. */
const DIGEST_LETTERS = 8;
const digestOf = () => store.collection?.digest.slice(0, DIGEST_LETTERS) ?? "";

class Find implements StripContent {
  readonly name = "find";
  readonly Bar = FindBar;
  title = $state("Nearest tiles");
  tiles: TileItem[] = $state.raw([]);
  status: "ready" | "loading" | "failed" = $state("ready");
  error: Error | null = $state(null);
  /** What the user should know of the result. */
  note = $state("");
  /** Queries of this visit in their order, as texts; `#at` is where one stands. */
  #trail: string[] = $state.raw([]);
  #at = $state(-1);
  #abort: AbortController | null = null;
  #asked = "";

  readonly #own: StripKey[] = [
    { key: "m", does: "Find more like this", act: (tiles) => this.judge(tiles, "more") },
    { key: "l", does: "Find less like this", act: (tiles) => this.judge(tiles, "less") },
    { key: "n", does: "Find from this tile anew", act: ([tile]) => tile && this.byTile(tile.tile_id) },
    { key: "[", does: "Back to the query before", act: () => this.step(-1) },
    { key: "]", does: "Forward to the query after", act: () => this.step(1) },
  ];
  readonly empty = "No tile passes the filters. Loosen them in the panel Find.";

  /** Its own, and those that mark tiles with the classes of the task that is taught. */
  get keys(): StripKey[] {
    return store.may("label") ? [...this.#own, ...marks.stripKeys] : this.#own;
  }
  get query(): FindQuery | null {
    return queryOf(place.query.find ?? "");
  }
  get filters(): Filters {
    return filtersOf(place.query.filters ?? "");
  }
  get hasBefore(): boolean {
    return this.#at > 0;
  }
  get hasAfter(): boolean {
    return this.#at < this.#trail.length - 1;
  }

  markOf(tile: TileItem): Mark | null {
    return marks.markOf(tile);
  }

  onclose(): void {
    this.#abort?.abort();
    place.set({ find: "" });
  }

  /** @param frame Where the tile lies, for the frame around it, if it is on the open slide: "x,y,edge". */
  byTile(tile_id: string, frame = ""): void {
    this.#show({ start: { kind: "tile", tile_id }, more: [], less: [] }, frame ? { frame } : {});
  }

  byRegion(slide_id: string, box: [number, number, number, number]): void {
    this.#begin({ kind: "region", slide_id, box });
  }

  byClass(task: string, label: string): void {
    this.#begin({ kind: "class", task, label });
  }

  /** Tiles of any shape of region: the first of them is the query, moved to the mean of them all. */
  byTiles([first, ...others]: string[]): void {
    if (first !== undefined) this.#show({ start: { kind: "tile", tile_id: first }, more: others, less: [] });
  }

  /** Embed an image with the collection's extractor, and search by it. */
  async byImage(image: Blob, name: string, mpp: number | null): Promise<void> {
    const route = address`/api/collections/${store.collection?.name ?? ""}/embed` + (mpp === null ? "" : `?mpp=${mpp}`);
    const headers = { "Content-Type": "application/octet-stream" };
    const answer = await request(route, { method: "POST", body: image, headers });
    const vector = packed((await answer.json()).vector);
    keepName(vector, name);
    this.#begin({ kind: "image", digest: digestOf(), vector });
  }

  /** Embed words with the text tower of the collection's extractor, and search by them. */
  async byText(text: string): Promise<void> {
    const collection = store.collection?.name ?? "";
    const answer = await body(
      client.POST("/api/collections/{collection}/embed-text", {
        params: { path: { collection } },
        body: { texts: [text] },
      }),
    );
    const vector = packed(answer.vector);
    keepName(vector, `“${text}”`);
    this.#begin({ kind: "image", digest: digestOf(), vector });
  }

  judge(tiles: readonly TileItem[], as: "more" | "less"): void {
    const ids = tiles.map(({ tile_id }) => tile_id);
    if (this.query && ids.length) this.#show(judged(this.query, ids, as));
  }

  /** Judged tiles are let go. */
  forget(ids: readonly string[]): void {
    const query = this.query;
    if (!query) return;
    const kept = (all: readonly string[]) => all.filter((id) => !ids.includes(id));
    this.#show({ ...query, more: kept(query.more), less: kept(query.less) });
  }

  filter(changes: Partial<Filters>): void {
    place.set({ filters: filtersText({ ...this.filters, ...changes }) });
  }

  step(by: number): void {
    const text = this.#trail[this.#at + by];
    if (text === undefined) return;
    this.#at += by;
    place.set({ find: text });
  }

  #begin(start: Start): void {
    this.#show({ start, more: [], less: [] });
  }

  #show(query: FindQuery, there: Record<string, string> = {}): void {
    const find = textOf(query);
    this.#trail = [...this.#trail.slice(0, this.#at + 1), find];
    this.#at = this.#trail.length - 1;
    place.go(place.view, place.slide, { ...place.query, ...there, find }); // a step for the browser's Back
  }

  /** Search for what the address tells: called in an effect, which runs again when that changes. */
  follow(): void {
    const { query, filters } = this;
    const collection = store.collection?.name;
    void connection.returned;
    if (!collection) return;
    untrack(() => {
      if (!query) {
        this.#asked = "";
        if (dock.strips.includes(this)) dock.close(this.name);
        return;
      }
      const asked = JSON.stringify([collection, query, filters, connection.returned]);
      if (asked === this.#asked) return;
      this.#asked = asked;
      if (this.#trail.length === 0) [this.#trail, this.#at] = [[textOf(query)], 0];
      void this.#search(collection, query, filters);
    });
  }

  async #search(collection: string, query: FindQuery, filters: Filters): Promise<void> {
    this.#abort?.abort();
    const abort = (this.#abort = new AbortController());
    this.status = "loading";
    dock.show(this);
    try {
      const found = await body(
        client.POST("/api/collections/{collection}/search", {
          params: { path: { collection } },
          body: bodyOf(this.#example(query.start), query, filters),
          signal: abort.signal,
        }),
      );
      const hits = found.hits as unknown as TileItem[];
      this.tiles = hits;
      this.note = found.note;
      this.title = titleOf(query);
      this.status = "ready";
    } catch (error) {
      if (abort.signal.aborted) return;
      this.error = error as Error;
      this.status = "failed";
    }
  }

  #example(start: Start): Schemas["SearchBody"]["query"] {
    switch (start.kind) {
      case "tile":
        return { tile_id: start.tile_id };
      case "region":
        return { slide_id: start.slide_id, region: start.box };
      case "class":
        return { task: start.task, label: start.label };
      case "image": {
        if (start.digest !== digestOf())
          throw new Error("It was embedded by the extractor of another collection. Give the image or the words again.");
        const title = nameOf(start.vector) ?? "an image or words of a link";
        return { vector: unpacked(start.vector), title } as Schemas["SearchBody"]["query"];
      }
    }
  }
}

function titleOf({ start }: FindQuery): string {
  switch (start.kind) {
    case "tile":
      return "Like the tile";
    case "region":
      return "Like the region";
    case "class":
      return `Like ${start.label} of ${start.task}`;
    case "image":
      return `Like ${nameOf(start.vector) ?? "an image, or words"}`;
  }
}

export const find = new Find();
