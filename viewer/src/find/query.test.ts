import { expect, test } from "vitest";

import { bodyOf, filtersOf, filtersText, judged, NO_FILTERS, queryOf, textOf, whereOf, type FindQuery } from "./query";

const A = "-4611686018427387904";
const B = "17";
const TILE: FindQuery = { start: { kind: "tile", tile_id: A }, more: [], less: [] };

test.each<FindQuery>([
  TILE,
  { ...TILE, more: [B], less: ["-3", "4"] },
  { start: { kind: "region", slide_id: "a;b/c,ü.svs", box: [0, -5, 512, 256] }, more: [B], less: [] },
  { start: { kind: "class", task: "t,1", label: "a:b" }, more: [], less: [] },
  { start: { kind: "image", digest: "0a1b2c3d", vector: "f4GA_-x" }, more: [], less: [B] },
])("a link finds the same again: %o", (query) => {
  expect(queryOf(textOf(query))).toEqual(query);
});

test.each([
  "",
  "tile:",
  "tile:1.5",
  "tile:1;2",
  "tile:1;+x",
  "region:1,2,3,a",
  "region:1,2,3,4,%",
  "image:0",
  "image:0a,b+",
  "x:1",
])("what is no query is none: %s", (text) => {
  expect(queryOf(text)).toBeNull();
});

test("a tile is judged one way at a time, and let go by the same key again", () => {
  const more = judged(TILE, [B], "more");
  expect(more.more).toEqual([B]);
  const less = judged(more, [B, "5"], "less");
  expect([less.more, less.less]).toEqual([[], [B, "5"]]);
  expect(judged(less, [B], "less").less).toEqual(["5"]);
  expect(judged(less, [B, "6"], "less").less).toEqual(["5", B, "6"]);
});

test("filters stand in a link as far as they were changed, and nonsense is left out", () => {
  expect(filtersText(NO_FILTERS)).toBe("");
  const filters = { ...NO_FILTERS, where: "stain = 'H&E'", tissue: 0.5, exclude_same: "patient" as const };
  expect(filtersOf(filtersText(filters))).toEqual(filters);
  expect(filtersOf("k=0&tissue=7&exclude_same=x&per_slide=-1&diverse=a")).toEqual({ ...NO_FILTERS, k: 1 });
});

test("tissue is a part of the condition", () => {
  expect(whereOf({ where: " a = 1 OR b ", tissue: 0.8 })).toBe("(a = 1 OR b) AND tissue >= 0.8");
  expect(whereOf({ where: " ", tissue: 0 })).toBeUndefined();
});

test("a search sends ids as text", () => {
  const body = bodyOf({ tile_id: A }, { ...TILE, more: [B], less: ["3"] }, { ...NO_FILTERS, per_slide: 1 });
  expect(body).toMatchObject({ query: { tile_id: A }, more_like: [{ tile_id: B }], away_from: [{ tile_id: "3" }] });
  expect(body).toMatchObject({ k: 24, per_slide: 1, where: undefined });
});

test("an image and words are of no slide, so that none is left out until a tile is liked", () => {
  const filters = { ...NO_FILTERS, exclude_same: "slide" as const };
  const image: FindQuery = { start: { kind: "image", digest: "d", vector: "v" }, more: [], less: [A] };
  const example = { vector: [1] } as never;
  expect(bodyOf(example, image, filters).exclude_same).toBeUndefined();
  expect(bodyOf(example, { ...image, more: [B] }, filters).exclude_same).toBe("slide");
  expect(bodyOf({ tile_id: A }, TILE, filters).exclude_same).toBe("slide");
});
