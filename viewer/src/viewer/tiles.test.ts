import { expect, test } from "vitest";

import { readSafetensors } from "../api/safetensors";
import { boundsOf, isInside, SlideTiles } from "./tiles.svelte";

function tiles(corners: [number, number][], edge = 100): SlideTiles {
  const int = (values: number[]) => Int32Array.from(values);
  return new SlideTiles(
    "a.svs",
    BigInt64Array.from(corners.map((_, i) => 2n ** 62n + BigInt(i))),
    int(corners.map(([x]) => x)),
    int(corners.map(([, y]) => y)),
    int(corners.map(() => edge)),
    Float32Array.from(corners, () => 1),
  );
}

const GRID = Array.from({ length: 400 }, (_, i): [number, number] => [1000 + 100 * (i % 20), 100 * Math.floor(i / 20)]);

test("the tile at a point holds it, and beside the tiles there is none", () => {
  const grid = tiles(GRID);
  expect(grid.at({ x: 1000, y: 0 })).toBe(0);
  expect(grid.at({ x: 1199.9, y: 100 })).toBe(21);
  expect(grid.at({ x: 2999, y: 1999 })).toBe(399);
  for (const [x, y] of [
    [999, 0],
    [3000, 5],
    [1500, -1],
    [1500, 2000],
    [-1e9, 1e9],
  ] as const)
    expect(grid.at({ x, y })).toBe(-1);
});

test("of overlapping tiles the one with the nearest centre is taken", () => {
  const overlapping = tiles([
    [0, 0],
    [50, 0],
    [0, 50],
    [50, 50],
  ]);
  expect(overlapping.at({ x: 60, y: 60 })).toBe(0);
  expect(overlapping.at({ x: 90, y: 60 })).toBe(1);
  expect(overlapping.at({ x: 90, y: 90 })).toBe(3);
});

test("tiles in a rectangle and a polygon are those that a look at each one finds", () => {
  const grid = tiles(GRID.map(([x, y]) => [x + ((y * 7) % 31), y]));
  const rectangle = { x: 1333, y: 250, width: 901, height: 777 };
  const all = [...Array(grid.count).keys()];
  const inside = all.filter((tile) => {
    const { x, y } = grid.centre(tile);
    return x >= 1333 && x < 2234 && y >= 250 && y < 1027;
  });
  expect(grid.inRectangle(rectangle)).toEqual(inside);
  const triangle = [
    { x: 1100, y: 100 },
    { x: 2900, y: 900 },
    { x: 1200, y: 1800 },
  ];
  expect(grid.inPolygon(triangle)).toEqual(all.filter((tile) => isInside(grid.centre(tile), triangle)));
  expect(grid.inPolygon(triangle).length).toBeGreaterThan(20);
});

test("tiles on the screen are found where they touch it", () => {
  const touching: number[] = [];
  tiles(GRID).forEachIn({ x: 1150, y: 150, width: 100, height: 10 }, (tile) => touching.push(tile));
  expect(touching).toEqual([21, 22]);
});

test("far-off tiles make no huge table, and no tiles are no failure", () => {
  expect(
    tiles(
      [
        [0, 0],
        [2 ** 30, 2 ** 30],
      ],
      1,
    ).at({ x: 2 ** 30, y: 2 ** 30 }),
  ).toBe(1);
  expect(tiles([]).at({ x: 0, y: 0 })).toBe(-1);
  expect(tiles([]).inRectangle({ x: 0, y: 0, width: 9, height: 9 })).toEqual([]);
});

test("ids keep their 64 bits", () => {
  const grid = tiles(GRID);
  expect(grid.id(3)).toBe("4611686018427387907");
  expect(grid.numberOf("4611686018427387907")).toBe(3);
  expect(grid.numberOf("5")).toBe(-1);
});

test("a region's bounds", () => {
  expect(
    boundsOf([
      { x: 3, y: 9 },
      { x: -1, y: 4 },
    ]),
  ).toEqual({ x: -1, y: 4, width: 4, height: 5 });
});

/** A file of safetensors whose arrays begin where `padding` puts them. */
function file(padding: number): ArrayBuffer {
  const header = { __metadata__: { raster: "{}" }, values: { dtype: "I32", shape: [2], data_offsets: [0, 8] } };
  const text = new TextEncoder().encode(JSON.stringify(header) + " ".repeat(padding));
  const bytes = new Uint8Array(8 + text.length + 8);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(text.length), true);
  bytes.set(text, 8);
  new DataView(bytes.buffer).setInt32(8 + text.length, -7, true);
  new DataView(bytes.buffer).setInt32(12 + text.length, 1 << 20, true);
  return bytes.buffer;
}

test.each([0, 1, 2, 3])("safetensors are read wherever their arrays begin (%i)", (padding) => {
  const read = readSafetensors(file(padding));
  expect([...read.array("values", "I32")]).toEqual([-7, 1 << 20]);
  expect(read.shape("values")).toEqual([2]);
  expect(read.metadata).toEqual({ raster: "{}" });
  expect(() => read.array("values", "F32")).toThrow("expected F32");
  expect(() => read.array("none", "F32")).toThrow("no array none");
});
