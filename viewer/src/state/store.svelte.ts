/** The store that is served, who asks, and what is chosen of it. */
import { body, client, type Schemas } from "../api/client";
import { place } from "./place.svelte";

export interface Collection {
  name: string;
  extractor: string;
  /** Of the extractor's weights and preprocessing. */
  digest: string;
  dim: number;
  tile_px: number;
  mpp: number;
  slides: number;
  tiles: number;
  /** Whether words can be searched by. */
  text: boolean;
}
type Role = Schemas["StoreAnswer"]["role"];
const ROLES: readonly Role[] = ["read", "label", "fit", "admin"];

class StoreState {
  facts: Schemas["StoreAnswer"] | null = $state(null);
  collections: Collection[] = $state([]);
  error: Error | null = $state(null);
  #asked = 0;

  /** The collection that is looked at: of the link, else the one with most tiles. */
  readonly collection: Collection | null = $derived.by(() => {
    const largest = () => this.collections.toSorted((a, b) => b.tiles - a.tiles)[0] ?? null;
    return this.collections.find(({ name }) => name === place.query.collection) ?? largest();
  });

  may(role: Role): boolean {
    return this.facts !== null && ROLES.indexOf(this.facts.role) >= ROLES.indexOf(role);
  }

  async load(): Promise<void> {
    const asked = ++this.#asked;
    try {
      const [facts, collections] = await Promise.all([body(client.GET("/api")), body(client.GET("/api/collections"))]);
      if (asked !== this.#asked) return;
      this.facts = facts;
      this.collections = collections as unknown as Collection[];
      this.error = null;
    } catch (error) {
      if (asked === this.#asked) this.error = error as Error;
    }
  }
}

export const store = new StoreState();
