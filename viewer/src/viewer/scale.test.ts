import { expect, test } from "vitest";

import { magnificationOfLevelZero, scaleBar, zoomText } from "./scale";

test.each([
  [0.25, 1, 150, 80, "20 µm"],
  [0.25, 1, 200, 200, "50 µm"],
  [0.5, 0.01, 160, 100, "5 mm"],
  [0.5, 4, 100, 80, "10 µm"],
  [0.05, 4, 60, 40, "500 nm"],
  [null, 0.05, 120, 100, "2,000 px"],
])("a bar at %s µm/px and scale %s, at most %s px, has a round length", (mpp, scale, most, width, text) => {
  const bar = scaleBar(mpp, scale, most);
  expect(bar.width).toBeCloseTo(width);
  expect(bar.text).toBe(text);
});

test("a bar is never wider than its place, and never less than a third of it", () => {
  for (let scale = 1e-4; scale < 16; scale *= 1.13) {
    const { width } = scaleBar(0.2527, scale, 140);
    expect(width).toBeLessThanOrEqual(140);
    expect(width).toBeGreaterThan(140 / 3);
  }
});

test("magnification is the file's, or follows from the resolution", () => {
  expect(magnificationOfLevelZero({ magnification: 20, mpp: 0.499 })).toBe(20);
  expect(magnificationOfLevelZero({ magnification: null, mpp: 0.25 })).toBe(40);
  expect(magnificationOfLevelZero({ magnification: null, mpp: null })).toBeNull();
  expect(zoomText({ magnification: 40, mpp: 0.25 }, 0.5)).toBe("20× · 0.50 µm/px");
  expect(zoomText({ magnification: 40, mpp: 0.25 }, 0.0123)).toBe("0.49× · 20 µm/px");
  expect(zoomText({ magnification: null, mpp: null }, 0.5)).toBe("50 %");
});
