import { expect, test } from "vitest";

import { heatColour, heatTable, pixel, rgbOf } from "./colours";
import { HeatMap } from "./heat_map";

const FACTS = {
  head: "nuclei",
  task: "nuclei",
  level: "tile" as const,
  planes: ["dense", "other"],
  positive: "dense",
  thresholds: {},
  origin_l0: [1000, 500] as [number, number],
  step_l0: 100,
  edge_l0: 100,
  rows: 2,
  columns: 3,
};
const VALUES = Uint8Array.from([0, 127, 254, 255, 128, 126, 254, 127, 0, 255, 126, 128]);
const map = (facts = {}) => new HeatMap({ ...FACTS, ...facts }, VALUES, Int16Array.from([1, 1, 0, -1, 0, 1]));

test("colours run from blue to yellow, ever brighter", () => {
  const light = (value: number) =>
    heatColour(value).reduce((sum, part, i) => sum + part * [0.2126, 0.7152, 0.0722][i]!, 0);
  for (let value = 0; value < 1; value += 0.01) expect(light(value + 0.01)).toBeGreaterThan(light(value) - 0.5);
  expect(heatColour(0)).toEqual([0x3e, 0x49, 0x89]);
  expect(heatColour(1)).toEqual(heatColour(7));
  expect(pixel(rgbOf("#f80"))).toBe(0xff0088ff);
});

test("values below the threshold, and no tile, are transparent", () => {
  for (const threshold of [0, 0.2, 0.5, 1]) {
    const table = heatTable(threshold);
    expect(table[255]).toBe(0);
    for (let byte = 0; byte <= 254; byte++) expect(table[byte] !== 0).toBe(byte / 254 >= threshold);
  }
});

test("a plane is coloured cell by cell", () => {
  const pixels = new Uint32Array(6);
  map().pixelsOf(0, 0.5, pixels);
  const colour = (byte: number) => pixel(heatColour(byte / 254));
  expect([...pixels]).toEqual([0, colour(127), colour(254), 0, colour(128), 0]);
});

test("classes are coloured where their probability reaches the threshold", () => {
  const pixels = new Uint32Array(6);
  map().pixelsOfClasses(
    [
      [1, 2, 3],
      [4, 5, 6],
    ],
    0.502,
    pixels,
  );
  const [dense, other] = [pixel([1, 2, 3]), pixel([4, 5, 6])];
  expect([...pixels]).toEqual([other, 0, dense, 0, dense, other]);
});

test("a point has the value of its tile", () => {
  expect(map().cell({ x: 1000, y: 500 })).toBe(0);
  expect(map().cell({ x: 1299, y: 699 })).toBe(5);
  for (const [x, y] of [
    [999, 500],
    [1300, 500],
    [1000, 700],
  ] as const)
    expect(map().cell({ x, y })).toBe(-1);
  expect(map().value(0, 2)).toBe(1);
  expect(map().value(0, 3)).toBeNull();
  expect(map().value(0, -1)).toBeNull();
  expect(map().decision(3)).toBeNull();
  const overlapping = map({ edge_l0: 200 }); // a cell shows the middle of its tile
  expect(overlapping.cell({ x: 1049, y: 550 })).toBe(-1);
  expect(overlapping.cell({ x: 1050, y: 550 })).toBe(0);
});

test("a class that the head does not have is its positive one", () => {
  expect(map().plane("other")).toBe(1);
  expect(map().plane("none")).toBe(0);
  expect(map({ planes: ["a", "b"], positive: null }).plane(undefined)).toBe(0);
});

test("a legend lists the classes that are decided on, once each", () => {
  expect(map().decisions).toEqual([0, 1]);
  const facts = { ...FACTS, planes: ["a", "b", "c"] };
  expect(new HeatMap(facts, VALUES, Int16Array.from([2, -1, 2, 0, -1, 2])).decisions).toEqual([0, 2]);
});
