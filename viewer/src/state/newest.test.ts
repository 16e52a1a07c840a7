import { expect, test } from "vitest";

import { Newest } from "./newest";

test("an answer that comes after one to a later question is left out", async () => {
  const newest = new Newest();
  const shown: string[] = [];
  let answer = (_: string) => {};
  const late = new Promise<string>((resolve) => (answer = resolve));
  const first = newest.read(
    () => late,
    (heard) => shown.push(heard),
  );
  await newest.read(
    () => Promise.resolve("second"),
    (heard) => shown.push(heard),
  );
  answer("first");
  await first;
  expect(shown).toEqual(["second"]);
});

test("a question without an answer keeps no later one from being shown", async () => {
  const newest = new Newest();
  const shown: string[] = [];
  const refused = newest.read(() => Promise.reject(new Error("away")), String);
  await expect(refused).rejects.toThrow("away");
  await newest.read(
    () => Promise.resolve("back"),
    (answer) => shown.push(answer),
  );
  expect(shown).toEqual(["back"]);
});

test("a failure that comes after an answer to a later question is not told", async () => {
  const newest = new Newest();
  const shown: string[] = [];
  let fail = (_: Error) => {};
  const late = new Promise<string>((_, reject) => (fail = reject));
  const first = newest.read(
    () => late,
    (heard) => shown.push(heard),
  );
  await newest.read(
    () => Promise.resolve("second"),
    (heard) => shown.push(heard),
  );
  fail(new Error("late"));
  await first;
  expect(shown).toEqual(["second"]);
});

test("an answer that comes after the failure of a later question is left out", async () => {
  const newest = new Newest();
  const shown: string[] = [];
  let answer = (_: string) => {};
  const late = new Promise<string>((resolve) => (answer = resolve));
  const first = newest.read(
    () => late,
    (heard) => shown.push(heard),
  );
  const second = newest.read(() => Promise.reject(new Error("second")), String);
  await expect(second).rejects.toThrow("second");
  answer("first");
  await first;
  expect(shown).toEqual([]);
});
