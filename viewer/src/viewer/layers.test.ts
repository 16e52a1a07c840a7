import { expect, test } from "vitest";

import { classLooks } from "../design/classes";
import type { LabelRow } from "../state/marks.svelte";
import { cellLines, stepOf } from "./cells";
import { countText, covers, shownLabel } from "./label_layer.svelte";
import { SlideTiles } from "./tiles.svelte";

function tiles(corners: [number, number][], edge = 100): SlideTiles {
  const int = (values: number[]) => Int32Array.from(values);
  const ids = BigInt64Array.from(corners.map((_, i) => BigInt(i)));
  const [x, y] = [int(corners.map(([each]) => each)), int(corners.map(([, each]) => each))];
  return new SlideTiles("a.svs", ids, x, y, int(corners.map(() => edge)), new Float32Array(corners.length));
}

const pieces = (lines: Float64Array) =>
  Array.from({ length: lines.length / 4 }, (_, i) => [...lines.slice(4 * i, 4 * i + 4)].join(" ")).sort();

test("the outline of an L of three tiles has six sides, its grid eight lines", () => {
  const { outline, grid } = cellLines(
    tiles([
      [0, 0],
      [0, 100],
      [100, 100],
    ]),
  );
  expect(pieces(outline)).toEqual(
    ["0 0 100 0", "100 0 100 100", "100 100 200 100", "200 100 200 200", "0 200 200 200", "0 0 0 200"].sort(),
  );
  expect(pieces(grid)).toEqual(
    ["0 0 100 0", "0 100 200 100", "0 200 200 200", "0 0 0 200", "100 0 100 200", "200 100 200 200"].sort(),
  );
});

test("a hole has an outline of its own, and overlapping tiles have that of their union", () => {
  const ring = [0, 1, 2, 3, 5, 6, 7, 8].map((i): [number, number] => [100 * (i % 3), 100 * Math.floor(i / 3)]);
  expect(pieces(cellLines(tiles(ring)).outline)).toContain("100 100 200 100");
  const overlapping = tiles([
    [0, 0],
    [50, 0],
    [100, 0],
  ]);
  expect(stepOf(overlapping)).toBe(50);
  expect(pieces(cellLines(overlapping).outline)).toEqual(
    ["0 0 200 0", "0 100 200 100", "0 0 0 100", "200 0 200 100"].sort(),
  );
});

test("tiles on no grid, and none at all, make no huge grid", () => {
  expect(
    stepOf(
      tiles([
        [0, 0],
        [101, 7],
      ]),
    ),
  ).toBe(12.5);
  expect(cellLines(tiles([])).grid).toHaveLength(0);
  expect(
    cellLines(
      tiles([
        [0, 0],
        [2 ** 29, 2 ** 29],
      ]),
    ).outline.length,
  ).toBeGreaterThan(0);
});

const LOOK = classLooks(["tumour"])[0]!;
const row = (given: Partial<LabelRow>) => ({ label: "tumour", author: "ann", geometry: null, ...given }) as LabelRow;

test("a label covers its tile, or its area without the holes", () => {
  const tile = shownLabel(row({ kind: "tile", x: 100, y: 200, edge_l0: 50 }), LOOK);
  expect([covers(tile, { x: 149, y: 201 }), covers(tile, { x: 150, y: 201 })]).toEqual([true, false]);
  const square = (from: number, to: number) => [
    [from, from],
    [to, from],
    [to, to],
    [from, to],
    [from, from],
  ];
  const area = shownLabel(
    row({ kind: "area", geometry: { type: "MultiPolygon", coordinates: [[square(0, 90), square(30, 60)]] } }),
    LOOK,
  );
  expect(area.box).toEqual({ x: 0, y: 0, width: 90, height: 90 });
  expect([10, 45, 95].map((at) => covers(area, { x: at, y: at }))).toEqual([true, false, false]);
  const rest = shownLabel(row({ kind: "rest" }), LOOK);
  expect(covers(rest, { x: 1, y: 1 })).toBe(false);
});

test("what labels are of is counted", () => {
  const kinds = ["area", "tile", "tile", "rest"] as const;
  expect(countText(kinds.map((kind) => ({ kind })))).toBe("2 tiles, 1 area, the rest");
});
