import { expect, test } from "vitest";

import { areaText, columnsOf, wallOf, whereOf, windowOf } from "./wall";

test("an address asks for slides, and nonsense in it for nothing", () => {
  expect(wallOf({})).toEqual({ text: "", where: "", patient: "", state: "", sort: "slide_id", order: "ascending" });
  expect(wallOf({ state: "broken", order: "up", sort: "tiles" })).toMatchObject({ state: "", order: "ascending" });
  expect(wallOf({ state: "failed", order: "descending" })).toMatchObject({ state: "failed", order: "descending" });
});

test("a patient is a part of the condition, whatever the name", () => {
  expect(whereOf({ where: "", patient: "" })).toBeUndefined();
  expect(whereOf({ where: "a = 1 OR b = 2", patient: "O'Hara" })).toBe("(a = 1 OR b = 2) AND patient = 'O''Hara'");
});

test.each([
  [0, "0 mm²"],
  [8.51, "8.5 mm²"],
  [999.4, "999 mm²"],
  [137041.3, "1,370 cm²"],
])("%f mm² read as %s", (mm2, text) => {
  expect(areaText(mm2)).toBe(text);
});

test.each([
  [100, 1],
  [223, 1],
  [1280, 5],
  [1281, 5],
  [1920, 8],
])("a wall of %i px has %i columns", (width, columns) => {
  expect(columnsOf(width, 224, 16)).toBe(columns);
});

test("of 20,000 slides only those near the screen are drawn", () => {
  expect(windowOf(0, 700, 200, 5, 20_000)).toEqual([0, 30]);
  expect(windowOf(10_000, 700, 200, 5, 20_000)).toEqual([240, 280]);
  expect(windowOf(799_300, 700, 200, 5, 20_000)).toEqual([19970, 20_000]);
  expect(windowOf(5000, 700, 200, 5, 3)).toEqual([3, 3]);
});
