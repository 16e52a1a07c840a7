import { describe, expect, test } from "vitest";

import {
  discOf,
  drawPoints,
  home,
  inCircle,
  inPolygon,
  nearestTo,
  placeAt,
  readCloud,
  readColours,
  screenOf,
  shuffled,
  zoomed,
  type Cloud,
} from "./cloud";

/** A file as the service sends it. */
function safetensors(
  metadata: Record<string, unknown>,
  arrays: Record<string, [string, ArrayBufferView]>,
): ArrayBuffer {
  const header: Record<string, unknown> = {
    __metadata__: Object.fromEntries(Object.entries(metadata).map(([name, value]) => [name, JSON.stringify(value)])),
  };
  let at = 0;
  for (const [name, [dtype, { byteLength }]] of Object.entries(arrays)) {
    header[name] = { dtype, shape: [], data_offsets: [at, (at += byteLength)] };
  }
  const text = new TextEncoder().encode(JSON.stringify(header));
  const file = new Uint8Array(8 + text.length + at);
  new DataView(file.buffer).setBigUint64(0, BigInt(text.length), true);
  file.set(text, 8);
  at = 8 + text.length;
  for (const [, { buffer, byteOffset, byteLength }] of Object.values(arrays)) {
    file.set(new Uint8Array(buffer, byteOffset, byteLength), at);
    at += byteLength;
  }
  return file.buffer;
}

const IDS = BigInt64Array.of(-4611686018427387905n, 2n, 3n, 4n);
const XY = Float32Array.of(-1, 0, 0, 0.5, 1, 0, 1, -1);
const FACTS = { version: "1-2", tiles: 4, slide_ids: ["a.svs", "b.svs"], note: "4 of 4 tiles" };
const file = () =>
  safetensors({ map: FACTS }, { tile_id: ["I64", IDS], xy: ["F32", XY], slide: ["U32", Uint32Array.of(0, 0, 1, 1)] });
const cloud: Cloud = readCloud(file());
const seen = Uint32Array.of(1, 1, 1, 1);

test("a map is read with the ids of its tiles whole", () => {
  expect(String(cloud.ids[0])).toBe("-4611686018427387905");
  expect(cloud.slides[cloud.slide[2]!]).toBe("b.svs");
  expect(cloud.facts.version).toBe("1-2");
  expect([...cloud.order].sort()).toEqual([0, 1, 2, 3]);
});

test("colours are numbers or classes", () => {
  const about = { by: "tissue", kind: "numbers", range: [0, 1], classes: [] };
  const numbers = readColours(safetensors({ colours: about }, { values: ["F32", Float32Array.of(0.5, NaN)] }));
  expect(numbers.values[0]).toBe(0.5);
  const classes = safetensors({ colours: { ...about, kind: "classes" } }, { values: ["I32", Int32Array.of(1, -1)] });
  expect([...readColours(classes).values]).toEqual([1, -1]);
});

test("the disorder of drawing is always the same", () => {
  expect(shuffled(1000)).toEqual(shuffled(1000));
  expect([...shuffled(1000)]).not.toEqual([...Array(1000).keys()]);
});

describe("a camera", () => {
  const camera = { x: 0.25, y: -0.5, scale: 200 };
  test("leads from the screen to the map and back", () => {
    expect(placeAt(camera, { x: 100, y: 40 })).toEqual({ x: 0.75, y: -0.7 });
    const back = screenOf(camera, placeAt(camera, { x: 100, y: 40 }));
    expect([back.x, back.y].map(Math.round)).toEqual([100, 40]);
  });
  test("zooms about the place under the pointer, and not without end", () => {
    const at = { x: 130, y: -70 };
    const near = zoomed(camera, 3, at, home(800, 600).scale);
    const [before, after] = [placeAt(camera, at), placeAt(near, at)];
    expect(after.x).toBeCloseTo(before.x, 9);
    expect(after.y).toBeCloseTo(before.y, 9);
    expect(zoomed(camera, 1e9, at, 100).scale).toBe(40_000);
    expect(zoomed(camera, 1e-9, at, 100).scale).toBe(80);
  });
});

describe("points", () => {
  test("are drawn as discs, in their order, within the picture", () => {
    const pixels = new Uint32Array(21 * 11);
    const camera = { x: 0, y: 0, scale: 10 };
    drawPoints(
      pixels,
      21,
      11,
      Float32Array.of(-1, 0, 0, 0.5, 1, 0, 1, 0),
      shuffled(4),
      Uint32Array.of(7, 0, 8, 8),
      camera,
      1,
    );
    const at = (x: number, y: number) => pixels[y * 21 + x];
    expect([at(1, 6), at(2, 6), at(3, 6), at(1, 5)]).toEqual([7, 7, 0, 7]);
    expect(at(20, 6)).toBe(8);
    expect(pixels.filter((colour) => colour === 7).length).toBeLessThan(10);
    expect(pixels.includes(0)).toBe(true);
  });
  test("of which only some are drawn while the map moves", () => {
    const pixels = new Uint32Array(21 * 11);
    const xy = Float32Array.of(-1, 0, 0, 0, 1, 0);
    drawPoints(pixels, 21, 11, xy, Uint32Array.of(0, 1, 2), Uint32Array.of(7, 8, 9), { x: 0, y: 0, scale: 9 }, 1, 2);
    expect([7, 8, 9].map((colour) => pixels.includes(colour))).toEqual([true, false, true]);
  });
  test("a disc is as wide as high", () => {
    const disc = discOf(3);
    expect(disc.length).toBe(7);
    expect(disc[3]).toBe(3);
    expect(disc[0]).toBeLessThan(3);
  });
  test("are found by the pointer, the lasso and the ring, if they are seen", () => {
    expect(nearestTo(cloud, { x: 0.95, y: 0.02 }, 0.1, seen)).toBe(2);
    expect(nearestTo(cloud, { x: 0.5, y: 0 }, 0.1, seen)).toBe(-1);
    expect(nearestTo(cloud, { x: 1, y: 0 }, 0.1, Uint32Array.of(1, 1, 0, 1))).toBe(-1);
    const corner = [
      { x: 0.5, y: 0.5 },
      { x: 1.5, y: 0.5 },
      { x: 1.5, y: -2 },
      { x: 0.5, y: -2 },
    ];
    expect(inPolygon(cloud, corner, seen)).toEqual([2, 3]);
    expect(inPolygon(cloud, corner, Uint32Array.of(1, 1, 0, 1))).toEqual([3]);
    expect(inPolygon(cloud, corner.slice(0, 2), seen)).toEqual([]);
    expect(inCircle(cloud, { x: 1, y: -0.5 }, 0.6, seen)).toEqual([2, 3]);
  });
});
