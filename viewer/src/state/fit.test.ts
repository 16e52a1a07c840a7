import { expect, test } from "vitest";

import { fewMarks, headName, positiveOf } from "./fit.svelte";

test.each([
  [[["a", 5, 0]], "Mark tiles of at least two classes."],
  [
    [
      ["a", 5, 0],
      ["b", 0, 0],
    ],
    "Mark tiles of at least two classes.",
  ],
  [
    [
      ["a", 2, 0],
      ["b", 1, 0],
      ["c", 9, 0],
    ],
    "Mark at least 3 tiles of each class: a has 2, b has 1.",
  ],
  [
    [
      ["a", 0, 1],
      ["b", 3, 0],
      ["c", 0, 0],
    ],
    null,
  ],
] as const)("%j can be fitted, or it is said what is missing", (classes, said) => {
  expect(fewMarks(classes.map(([label, own, others]) => ({ label, own, others })))).toBe(said);
});

test("a heat map is of the class that one looks for", () => {
  expect(positiveOf(["normal", "tumour"])).toBe("tumour");
  expect(positiveOf(["tumour", "other"])).toBe("tumour");
  expect(positiveOf(["adipose", "mucosa"])).toBe("mucosa");
  expect(positiveOf(["a", "b", "c"])).toBe(null);
});

test("names of heads are letters, digits, dots, lines", () => {
  expect(headName("dense nuclei", "a", [])).toBe("dense-nuclei-marks");
  expect(headName("..µ", "a", [])).toBe("task-marks");
});

test("no head of another task or collection is replaced", () => {
  const heads = [
    { name: "task-marks", task: "腫瘍", collection: "a" },
    { name: "task-marks-2", task: "腫瘍", collection: "b" },
  ];
  expect(headName("腫瘍", "a", heads)).toBe("task-marks");
  expect(headName("腫瘍", "b", heads)).toBe("task-marks-2");
  expect(headName("壊死", "a", heads)).toBe("task-marks-3");
});
