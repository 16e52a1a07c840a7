import { expect, test, vi } from "vitest";

import { labelsOf } from "../state/marks.svelte";
import { SlideLabels } from "./label_layer.svelte";

vi.mock("../state/marks.svelte", () => ({ labelsOf: vi.fn(), marks: { classes: [] } }));

const POINT = {
  slide_id: "a.svs",
  x: 10,
  y: 20,
  edge_l0: 0,
  label_key: "",
  label: "tumour",
  kind: "point",
  author: "ann",
  geometry: null,
} as const;

test.each(["before", "after"])("a failure that comes %s the answer to a later question is gone", async (when) => {
  let fail = (_: Error) => {};
  let answer = () => {};
  vi.mocked(labelsOf)
    .mockReturnValueOnce(new Promise((_, reject) => (fail = reject)))
    .mockReturnValueOnce(new Promise((resolve) => (answer = () => resolve([POINT]))));
  const labels = new SlideLabels();
  const both = [labels.load("tumour", "a.svs"), labels.load("tumour", "a.svs")];
  const steps = [() => fail(new Error("away")), answer];
  for (const step of when === "before" ? steps : steps.reverse()) {
    step();
    await new Promise((resolve) => setTimeout(resolve));
  }
  await Promise.all(both);
  expect(labels.all.map(({ label }) => label)).toEqual(["tumour"]);
  expect(labels.error).toBe(null);
});
