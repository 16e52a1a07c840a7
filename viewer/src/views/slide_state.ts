/** What became of a slide, told by sign, word and colour. */
import type { SlideCard } from "./slide_cards.svelte";

export type SlideState = NonNullable<SlideCard["state"]> | "none";

export const STATES: Record<SlideState, { sign: string; word: string; color: string; next: string }> = {
  done: { sign: "✓", word: "done", color: "var(--good)", next: "" },
  empty: {
    sign: "∅",
    word: "empty",
    color: "var(--warn)",
    next: "No tile has enough tissue. `embedstore tissue` draws what is taken for tissue, and its settings.",
  },
  failed: {
    sign: "✕",
    word: "failed",
    color: "var(--bad)",
    next: "Mend what the reason says, then take it up again with `embedstore ingest … --retry-failed`.",
  },
  none: {
    sign: "–",
    word: "not ingested",
    color: "var(--text-quiet)",
    next: "The slide is not in this collection. `embedstore ingest` takes it up.",
  },
};
