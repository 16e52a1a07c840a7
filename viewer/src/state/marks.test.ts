import { expect, test } from "vitest";

import { classOrder } from "./marks.svelte";

const row = (label: string, day: number) => ({ label, first: `2026-11-0${day}T00:00:00Z` });

test("classes keep their places when the second is labelled first, and when others add some", () => {
  expect(classOrder(["normal", "tumour"], [row("tumour", 1)])).toEqual(["normal", "tumour"]);
  expect(classOrder(["normal", "tumour"], [row("tumour", 1), row("fat", 3), row("normal", 2)])).toEqual([
    "normal",
    "tumour",
    "fat",
  ]);
  expect(classOrder([], [row("b", 2), row("c", 3), row("a", 2), row("b", 1)])).toEqual(["b", "a", "c"]);
});
