/** Strips to mark from: tiles that would teach most, labels that the head doubts, places where people disagree. */
import { untrack } from "svelte";

import { body, client, type Schemas } from "../api/client";
import { classLooks } from "../design/classes";
import { connection } from "../state/connection.svelte";
import { fit } from "../state/fit.svelte";
import { marks } from "../state/marks.svelte";
import { store } from "../state/store.svelte";
import { dock } from "../strip/dock.svelte";
import type { Mark, StripContent, StripKey, TileItem } from "../strip/tiles";
import { slideTiles } from "../viewer/tiles.svelte";
import TeachBar from "./TeachBar.svelte";

const SUGGESTED = 40;
/** Tiles of the collection that are looked at for suggestions, evenly over slides. */
const POOL = 20_000;
const MOST_DOUBTED = 100;
const MOST_DISAGREED = 200;

const taught = () => JSON.stringify([marks.task, store.collection?.name]);

/** What the three strips share: they are read again from their bar, and marked in by the classes' keys. */
abstract class TeachStrip implements StripContent {
  tiles: readonly TileItem[] = $state.raw([]);
  status: "ready" | "loading" | "failed" = $state("loading");
  error: Error | null = $state.raw(null);
  notes: readonly string[] = $state.raw([]);
  abstract readonly name: string;
  abstract readonly title: string;
  abstract readonly empty: string;
  readonly Bar = TeachBar;
  #asked = 0;
  #of = "";

  get keys(): readonly StripKey[] {
    return marks.stripKeys;
  }

  markOf(tile: TileItem): Mark | null {
    return marks.markOf(tile);
  }

  /** Read its tiles anew, and show the strip: in front, unless it is asked for again only because that failed. */
  async show(inFront = true): Promise<void> {
    const of = taught();
    if (of !== this.#of) [this.#of, this.tiles, this.notes] = [of, [], []];
    if (inFront) dock.show(this as StripContent);
    else if (!dock.strips.includes(this as StripContent)) return;
    const asked = ++this.#asked;
    this.status = "loading";
    try {
      const [tiles, notes] = await this.read();
      if (asked !== this.#asked) return;
      this.tiles = tiles;
      this.notes = notes;
      this.status = "ready";
    } catch (error) {
      if (asked !== this.#asked) return;
      this.error = error as Error;
      this.status = "failed";
    }
  }

  /** Close it where it is of another task or collection: keys would mark its tiles in this one. */
  closeIfOther(of: string): void {
    if (of === this.#of || !dock.strips.includes(this as StripContent)) return;
    this.#asked += 1;
    dock.close(this.name);
  }

  protected abstract read(): Promise<[TileItem[], readonly string[]]>;
}

class Suggested extends TeachStrip {
  readonly name = "suggested";
  readonly title = "Suggested";
  readonly empty = "Every tile that could be proposed is marked.";
  #reasons = new Map<string, string>();
  #turn = 0;

  captionOf(tile: TileItem): string {
    return this.#reasons.get(tile.tile_id) ?? "";
  }

  protected async read(): Promise<[TileItem[], readonly string[]]> {
    const collection = store.collection?.name ?? "";
    const head = fit.card?.name;
    const seed = this.#turn++; // others each time
    const answer: Schemas["SuggestAnswer"] = head
      ? await body(
          client.POST("/api/heads/{head}/suggest", {
            params: { path: { head } },
            body: { n: SUGGESTED, pool: POOL, seed },
          }),
        )
      : await body(
          client.POST("/api/collections/{collection}/suggest", {
            params: { path: { collection } },
            body: { n: SUGGESTED, pool: POOL, seed, task: marks.task },
          }),
        );
    this.#reasons = new Map(
      answer.tiles.map(({ tile_id, predicted, probability }) => [
        tile_id,
        predicted === null ? "" : `${letterOf(predicted)} ${(probability ?? 0).toFixed(2)}`,
      ]),
    );
    return [answer.tiles.map(tileItem), answer.notes];
  }
}

class Mistakes extends TeachStrip {
  readonly name = "mistakes";
  readonly title = "Mistakes";
  readonly empty = "The head agrees with every label.";
  #captions = new Map<string, string>();

  captionOf(tile: TileItem): string {
    return this.#captions.get(tile.tile_id) ?? "";
  }

  protected async read(): Promise<[TileItem[], readonly string[]]> {
    const head = fit.card?.name ?? "";
    const answer = await body(
      client.POST("/api/heads/{head}/mistakes", { params: { path: { head } }, body: { n: MOST_DOUBTED } }),
    );
    this.#captions = new Map(
      answer.tiles.map(({ tile_id, label, predicted, probability }) => [
        tile_id,
        `${letterOf(label)} → ${letterOf(predicted)} ${(probability ?? 0).toFixed(2)}`,
      ]),
    );
    return [answer.tiles.map(tileItem), answer.notes];
  }
}

type Disagreement = { slide_id: string | null; x: number | null; y: number | null; edge_l0: number | null } & Record<
  `label_${string}`,
  string | null
>;

class Disagreements extends TeachStrip {
  readonly name = "disagreements";
  readonly title = "Disagreements";
  readonly empty = "Nobody disagrees about a tile of this collection.";
  #captions = new Map<string, string>();

  captionOf(tile: TileItem): string {
    return this.#captions.get(tile.tile_id) ?? "";
  }

  protected async read(): Promise<[TileItem[], readonly string[]]> {
    const [task, collection] = [marks.task ?? "", store.collection?.name ?? ""];
    const answer = await body(
      client.GET("/api/labels/{task}/disagreements", {
        params: { path: { task }, query: { limit: MOST_DISAGREED } },
      }),
    );
    const rows = answer.rows as unknown as Disagreement[];
    const captions = new Map<string, string>();
    const found: TileItem[] = [];
    for (const [slide, of_slide] of Map.groupBy(rows, ({ slide_id }) => slide_id)) {
      if (slide === null) continue;
      const tiles = await slideTiles(collection, slide);
      for (const row of of_slide) {
        if (row.x === null || row.y === null) continue;
        const half = (row.edge_l0 ?? 0) / 2;
        const tile = tiles.at({ x: row.x + half, y: row.y + half });
        if (tile < 0) continue;
        const { x, y, width } = tiles.rectangle(tile);
        found.push({ tile_id: tiles.id(tile), slide_id: slide, x, y, edge_l0: width });
        captions.set(tiles.id(tile), voicesOf(row));
      }
    }
    this.#captions = captions;
    const lost = rows.length - found.length;
    const note = `${lost} more are about areas, slides or places without a tile of this collection.`;
    const unique = [...new Map(found.map((tile) => [tile.tile_id, tile])).values()];
    return [unique, lost > 0 ? [note] : []];
  }
}

/** "T: ann, bob · N: eve" */
export function voicesOf(row: Record<string, unknown>): string {
  const voices = Object.entries(row)
    .filter(([name, label]) => name.startsWith("label_") && typeof label === "string")
    .map(([name, label]) => [label as string, name.slice("label_".length)] as const);
  return [...Map.groupBy(voices, ([label]) => label)]
    .map(([label, of_label]) => `${letterOf(label)}: ${of_label.map(([, author]) => author).join(", ")}`)
    .join(" · ");
}

function letterOf(label: string): string {
  return (marks.lookOf(label) ?? classLooks([label])[0]!).letter;
}

function tileItem({
  tile_id,
  slide_id,
  patient,
  x,
  y,
  edge_l0,
  name,
}: Schemas["SuggestedTile"] | Schemas["MistakenTile"]) {
  return { tile_id, slide_id, patient, x, y, edge_l0, name } satisfies TileItem;
}

export const suggested = new Suggested();
export const mistakes = new Mistakes();
export const disagreements = new Disagreements();

const strips: readonly TeachStrip[] = [suggested, mistakes, disagreements];

if (globalThis.document) {
  $effect.root(() => {
    $effect(() => {
      const of = taught();
      untrack(() => strips.forEach((strip) => strip.closeIfOther(of)));
    });
    $effect(() => {
      void connection.returned;
      untrack(() => strips.filter(({ status }) => status === "failed").forEach((strip) => void strip.show(false)));
    });
  });
}
