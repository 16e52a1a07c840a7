import { expect, test } from "vitest";

import type { Card } from "../state/fit.svelte";
import type { Job } from "../state/job_events";
import { cardWords, progressWords } from "./fit_words";

const card = (group_by: string, groups: number, level = "tile") =>
  ({ config: { split: { group_by }, level }, groups, report: { rows: 1234 } }) as unknown as Card;

test.each([
  ["patient", 40, /1,234 labelled tiles of 40 patients/, null],
  ["patient", 4, /4 patients/, /Only 4 patients/],
  ["slide_id", 5, /5 slides/, /on a new patient the head will be worse/],
  ["tile", 60, /1,234 labelled tiles/, /too good/],
  ["site", 3, /3 groups by site/, null],
])("a card that is split by %s with %i groups says what it is worth", (by, groups, measured, warning) => {
  const words = cardWords(card(by, groups));
  expect(words.measured).toMatch(measured);
  if (warning === null) expect(words.warning).toBe(null);
  else expect(words.warning).toMatch(warning);
});

test("a card of a head for slides counts slides", () => {
  const words = cardWords(card("slide_id", 1234, "slide"));
  expect(words.measured).toBe("Measured on 1,234 labelled slides, each left out of the fit in turn.");
  expect(words.warning).toMatch(/Other slides of the same patient/);
});

test("a card of a head that is made of words does not speak of a fit", () => {
  const words = cardWords({ ...card("patient", 40), words: {} } as unknown as Card);
  expect(words.measured).toMatch(/Made of words, and of no label; measured on 1,234 labelled tiles/);
  expect(words.warning).toBe(null);
});

test.each([
  ["queued", null, null, "Waits for the job before it"],
  ["running", null, null, "Begins"],
  ["running", { stage: "fit", message: "fit on cpu:0", done: 0, total: null }, null, "Fit on cpu:0"],
  ["running", { stage: "predict-first", message: "", done: 0, total: null }, null, "Predicts this slide"],
  [
    "running",
    { stage: "predict", message: "", done: 500, total: 2000 },
    0.25,
    "Predicts all slides: 500 of 2,000 tiles",
  ],
])("a job that is %s tells its progress", (state, progress, share, text) => {
  expect(progressWords({ state, progress } as unknown as Job)).toEqual({ share, text });
});
