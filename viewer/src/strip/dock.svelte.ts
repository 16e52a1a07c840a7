/** The dock below the views: strips of tiles, of which one is shown. It stays while one goes from slide to slide. */
import { untrack } from "svelte";

import { keep, kept } from "../state/kept";
import type { StripContent } from "./tiles";

const KEY = "embedstore-dock-px";
export const LEAST_PX = 96;

class Dock {
  strips: StripContent[] = $state.raw([]);
  #shown = $state("");
  /** Height of the tiles, CSS pixels. */
  height: number = $state(Number(kept("localStorage", KEY)) || 168);

  get shown(): StripContent | null {
    return this.strips.find(({ name }) => name === this.#shown) ?? this.strips.at(-1) ?? null;
  }

  /** Show a strip in front, in place of the one of the same name. */
  show(content: StripContent): void {
    untrack(() => {
      const others = this.strips.filter(({ name }) => name !== content.name);
      if (!this.strips.includes(content)) this.strips = [...others, content];
      this.#shown = content.name;
    });
  }

  choose(name: string): void {
    this.#shown = name;
  }

  close(name: string): void {
    const closed = this.strips.find((strip) => strip.name === name);
    this.strips = this.strips.filter((strip) => strip !== closed);
    closed?.onclose?.();
  }

  resize(height: number): void {
    this.height = Math.round(Math.min(Math.max(height, LEAST_PX), 0.6 * innerHeight));
    keep("localStorage", KEY, String(this.height));
  }
}

export const dock = new Dock();
