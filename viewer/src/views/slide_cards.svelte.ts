/** The slides that a wall shows: fetched page by page as one scrolls; those before stay until the new ones are there. */
import { untrack } from "svelte";

import { body, client, type Schemas } from "../api/client";
import { whereOf, type WallQuery } from "./wall";

export type SlideCard = Schemas["SlideCard"];

const PAGE = 100;

export class SlideCards {
  /** Null until the first answer. */
  found: Schemas["SlideCards"] | null = $state.raw(null);
  loading = $state(false);
  error: Error | null = $state.raw(null);
  #pages: Record<number, SlideCard[]> = $state.raw({});
  #asked: { collection: string; query: WallQuery } | null = null;
  #abort = new AbortController();
  #awaited = new Set<number>();

  get total(): number {
    return this.found?.total ?? 0;
  }

  card(index: number): SlideCard | undefined {
    return this.#pages[Math.floor(index / PAGE)]?.[index % PAGE];
  }

  /** Ask for other slides, or for the same ones anew. */
  ask(collection: string, query: WallQuery): void {
    untrack(() => {
      this.#abort.abort();
      this.#abort = new AbortController();
      this.#asked = { collection, query };
      this.#awaited.clear();
      void this.#fetch(0, true);
    });
  }

  /** The cards from one index to another are on the screen. */
  need(first: number, last: number): void {
    untrack(() => {
      for (let page = Math.floor(first / PAGE); page * PAGE < last; page++)
        if (!this.#pages[page]) void this.#fetch(page, false);
    });
  }

  async #fetch(page: number, anew: boolean): Promise<void> {
    if (this.#awaited.has(page) || !this.#asked) return;
    this.#awaited.add(page);
    const { collection, query } = this.#asked;
    const { signal } = this.#abort;
    if (anew) this.loading = true;
    try {
      const { text, state, sort, order } = query;
      const found = await body(
        client.GET("/api/collections/{collection}/slide-cards", {
          params: {
            path: { collection },
            query: {
              text: text || undefined,
              where: whereOf(query),
              state: state || undefined,
              sort,
              order,
              offset: page * PAGE,
              limit: PAGE,
            },
          },
          signal,
        }),
      );
      this.#pages = anew ? { 0: found.rows } : { ...this.#pages, [page]: found.rows };
      this.found = found;
      this.error = null;
    } catch (error) {
      if (signal.aborted) return;
      this.error = error as Error;
    } finally {
      if (!signal.aborted) {
        this.#awaited.delete(page);
        if (anew) this.loading = false;
      }
    }
  }
}
