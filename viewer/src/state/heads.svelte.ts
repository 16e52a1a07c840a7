/** The heads of the store: read once, after a fit or a prediction, and when the service is back. */
import { untrack } from "svelte";

import { body, client, type Schemas } from "../api/client";
import { connection } from "./connection.svelte";
import { Newest } from "./newest";
import { store } from "./store.svelte";

export type Head = Schemas["HeadAnswer"];

class Heads {
  /** Null until they are read. */
  all: Head[] | null = $state.raw(null);
  error: Error | null = $state.raw(null);
  /** Counts readings after the first: whoever shows predictions asks for them again. */
  revision: number = $state(0);
  #reading: Promise<void> | null = null;
  #readings = new Newest();

  /** Those whose tiles are of the collection that is looked at. */
  readonly ofCollection: Head[] = $derived(
    (this.all ?? []).filter((head) => head.collection === store.collection?.name),
  );

  find(name: string | undefined): Head | null {
    return this.all?.find((head) => head.name === name) ?? null;
  }

  /** Until they are read for the first time, or as they are being read now. */
  async known(): Promise<readonly Head[]> {
    await (this.#reading ?? (this.all === null ? this.load() : null));
    if (this.all === null) throw this.error!;
    return this.all;
  }

  load(): Promise<void> {
    const reading = this.#read().finally(() => {
      if (this.#reading === reading) this.#reading = null;
    });
    return (this.#reading = reading);
  }

  /** Read them again where others may have fitted some; what they predict is as it was if they are the same. */
  async look(): Promise<void> {
    await this.#read(true);
  }

  async #read(isSameKept = false): Promise<void> {
    try {
      await this.#readings.read(
        () => body(client.GET("/api/heads")),
        (heads) => {
          if (isSameKept && JSON.stringify(heads) === JSON.stringify(this.all)) return;
          if (this.all !== null) this.revision += 1;
          [this.all, this.error] = [heads, null];
        },
      );
    } catch (error) {
      this.error = error as Error;
    }
  }
}

export const heads = new Heads();

if (globalThis.document) {
  $effect.root(() => {
    $effect(() => {
      void connection.returned;
      if (store.facts) untrack(() => void heads.load());
    });
  });
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden && store.facts) void heads.look();
  });
}
