import { expect, test } from "vitest";

import { classLooks } from "./classes";

test("classes have letters, colours and keys of their own, and a new one changes no other", () => {
  const looks = classLooks(["tumour", "tumour bed", "Tissue", "stroma", "9p21"]);
  expect(looks.map(({ letter }) => letter)).toEqual(["T", "TB", "Ti", "S", "9"]);
  expect(looks.map(({ key }) => key)).toEqual(["1", "2", "3", "4", "5"]);
  expect(new Set(looks.map(({ color }) => color)).size).toBe(5);
  expect(classLooks(["tumour", "tumour bed"])).toEqual(looks.slice(0, 2));
});

test("a name without letters, and many classes, have a look as well", () => {
  expect(classLooks(["+", "-", "?"]).map(({ letter }) => letter)).toEqual(["?", "2", "3"]);
  expect(
    classLooks(Array.from({ length: 12 }, (_, i) => `c${i}`))
      .map(({ key }) => key)
      .slice(8),
  ).toEqual(["9", "", "", ""]);
});
