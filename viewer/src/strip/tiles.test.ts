import { expect, test } from "vitest";

import { between, boxOf, moved, numberOf, overlap, samePart, tileTitle, toggled } from "./tiles";

const TILE = { tile_id: "-4611686018427387904", slide_id: "a.svs", x: 512, y: 0, edge_l0: 512 };

test.each([
  ["ArrowRight", 0, 1],
  ["ArrowRight", 9, null],
  ["ArrowLeft", 0, null],
  ["ArrowDown", 1, 5],
  ["ArrowDown", 7, null],
  ["ArrowUp", 5, 1],
  ["ArrowUp", 3, null],
  ["Home", 7, 0],
  ["End", 0, 9],
  ["x", 3, null],
])("%s at %i of ten in four columns leads to %s", (key, at, to) => {
  expect(moved(key, at, 10, 4)).toBe(to);
});

test("a range is the same from either end", () => {
  const ids = ["a", "b", "c", "d"];
  expect(between(ids, 1, 2)).toEqual(["b", "c"]);
  expect(between(ids, 2, 1)).toEqual(["b", "c"]);
});

test("a choice is taken back by the same key, and the set before stays as it was", () => {
  const before = new Set(["a"]);
  expect([...toggled(before, "b")]).toEqual(["a", "b"]);
  expect([...toggled(before, "a")]).toEqual([]);
  expect([...before]).toEqual(["a"]);
});

test("a box drawn to the upper left holds what it overlaps", () => {
  const box = boxOf({ x: 10, y: 10 }, { x: 0, y: 5 });
  expect(box).toEqual({ left: 0, top: 5, right: 10, bottom: 10 });
  expect(overlap(box, { left: 9, top: 9, right: 20, bottom: 20 })).toBe(true);
  expect(overlap(box, { left: 10, top: 0, right: 20, bottom: 20 })).toBe(false);
});

test("what all names begin with is left out, unless they are one name", () => {
  expect(samePart(["case-01.svs", "case-02.svs", "case-1.svs"])).toBe(5);
  expect(samePart(["a", "a"])).toBe(0);
  expect(samePart(["synthetic-01.svs", "synthetic-02.svs"])).toBe(10);
  expect(samePart(["a", "ab"])).toBe(0);
  expect(samePart([])).toBe(0);
});

test("a tile is told in words, with its number and mark", () => {
  expect(numberOf({ ...TILE, distance: 0.03149 })).toBe("0.031");
  expect(numberOf({ ...TILE, distance: 0.03149, probability: 0.5 })).toBe("p 0.50");
  expect(numberOf(TILE)).toBe("");
  const mark = { label: "tumour", letter: "T", color: "red" };
  expect(tileTitle(TILE, 2, "0.031", mark)).toBe("Tile 2, a.svs at 512, 0, 0.031, marked tumour");
  expect(tileTitle({ ...TILE, edge_l0: 0, name: "tumour/1.png" }, 1, "")).toBe("Tile 1, a.svs at tumour/1.png");
});
