import { afterEach, expect, test, vi } from "vitest";

import { keep, kept, keptRecord } from "./kept";

afterEach(() => vi.unstubAllGlobals());

test("a browser that keeps nothing is no failure", () => {
  const refuse = () => {
    throw new DOMException("", "SecurityError");
  };
  vi.stubGlobal("localStorage", { getItem: refuse, setItem: refuse });
  keep("localStorage", "a", "1");
  expect(kept("localStorage", "a")).toBe(null);
  expect(keptRecord("localStorage", "a")).toEqual({});
});

test("what was kept is there again, and nothing of what is no record", () => {
  const texts = new Map<string, string>();
  const area = {
    getItem: (key: string) => texts.get(key) ?? null,
    setItem: (key: string, to: string) => texts.set(key, to),
  };
  vi.stubGlobal("sessionStorage", area);
  keep("sessionStorage", "a", '{"b":["c"]}');
  expect(keptRecord("sessionStorage", "a")).toEqual({ b: ["c"] });
  for (const text of ["{", "null", "7"]) {
    keep("sessionStorage", "a", text);
    expect(keptRecord("sessionStorage", "a")).toEqual({});
  }
});
