import { expect, test } from "vitest";

import { classLooks } from "../design/classes";
import { classPlaces } from "./class_places";
import type { Cloud, Colours } from "./cloud";
import { drawOrder, looksOf, MOST_COLOURS, packed, paint } from "./palette";

const TONES = { plain: "#000000", rest: "#808080", hidden: new Set<number>() };
const about = { by: "", title: "", counts: [], threshold: null, positive: null, version: "", range: [0, 1] as const };
const classes = (names: string[], values: number[]): Colours => ({
  ...about,
  kind: "classes",
  classes: names,
  values: Int32Array.from(values),
});
const many = Array.from({ length: 12 }, (_, i) => `s${i}`);

test("a colour is packed as pictures have it", () => {
  expect(packed("#010203")).toBe(0xff030201);
});

test("classes beyond the palette, and tiles without one, are grey and drawn first", () => {
  const colours = classes(many, [0, 11, -1, 1]);
  const looks = looksOf(colours);
  expect(looks.length).toBe(MOST_COLOURS);
  const painted = paint(colours, looks, 4, TONES);
  expect([...painted]).toEqual([
    packed(looks[0]!.color),
    packed("#808080"),
    packed("#808080"),
    packed(looks[1]!.color),
  ]);
  expect([...drawOrder(Uint32Array.of(3, 1, 0, 2), colours, looks)]).toEqual([1, 2, 3, 0]);
});

test("a class of the task looks as it does elsewhere, and what is hidden has no colour", () => {
  const known = classLooks(["tumour", "stroma"]);
  const colours = classes(["stroma", "tumour"], [0, 1, -1]);
  const looks = looksOf(colours, (label) => known.find((look) => look.label === label) ?? null);
  expect(looks.map(({ color }) => color)).toEqual([known[1]!.color, known[0]!.color]);
  expect([...paint(colours, looks, 3, { ...TONES, hidden: new Set([1, -1]) })].slice(1)).toEqual([0, 0]);
});

test("numbers go along the scale, and those without are grey", () => {
  const colours: Colours = {
    ...about,
    kind: "numbers",
    classes: [],
    range: [0, 2],
    values: Float32Array.of(0, 2, NaN, 9),
  };
  const [low, high, none, beyond] = paint(colours, [], 4, TONES);
  expect([low, high, none]).toEqual([packed("#404387"), packed("#fde724"), packed("#808080")]);
  expect(beyond).toBe(high);
});

test("the letter of a class stands among most of its tiles", () => {
  const xy = Float32Array.of(0.9, 0.9, 0.91, 0.9, -0.9, -0.9, 0, 0);
  const colours = classes(["a", "b"], [0, 0, 0, 1]);
  const [a, b, ...others] = classPlaces({ xy } as Cloud, colours, looksOf(colours), new Set());
  expect(a!.place.x).toBeCloseTo(0.905, 3);
  expect([b!.place, others]).toEqual([{ x: 0, y: 0 }, []]);
  expect(classPlaces({ xy } as Cloud, colours, looksOf(colours), new Set([0, 1]))).toEqual([]);
});
