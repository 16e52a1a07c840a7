import { expect, test } from "vitest";

import { packed, unpacked } from "./image_vector";

function cosine(a: readonly number[], b: readonly number[]): number {
  const dot = (x: readonly number[], y: readonly number[]) => x.reduce((sum, each, i) => sum + each * y[i]!, 0);
  return dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b));
}

test.each([384, 1536])("a vector of %d dimensions comes out of an address as it went in", (dim) => {
  const vector = Array.from({ length: dim }, (_, i) => Math.sin(i * i) * (i === 7 ? 40 : 1)); // one that stands out
  const text = packed(vector);
  expect(text).toMatch(/^[A-Za-z0-9_-]+$/);
  expect(text.length).toBeLessThan(1.4 * dim);
  expect(cosine(unpacked(text), vector)).toBeGreaterThan(0.9998);
});
