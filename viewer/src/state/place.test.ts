import { expect, test } from "vitest";

import { hashOf, placeOf } from "./place.svelte";

test.each([
  ["", { view: "slides", slide: null, query: {} }],
  ["#/slides?text=colon", { view: "slides", slide: null, query: { text: "colon" } }],
  ["#/slides/a%2Fb%20c.svs?x=10&head=a%26b", { view: "slides", slide: "a/b c.svs", query: { x: "10", head: "a&b" } }],
  ["#/map", { view: "map", slide: null, query: {} }],
  ["#/slides/50%.svs", { view: "slides", slide: "50%.svs", query: {} }],
  ["#/nowhere", { view: "slides", slide: null, query: {} }],
])("a link opens its place: %s", (hash, place) => {
  expect(placeOf(hash)).toEqual(place);
});

test.each(["a.svs", "folder/a b.svs", "50%?#&=.svs", "ünïcode 切片.svs"])(
  "a slide keeps its name in a link: %s",
  (slide) => {
    const place = { view: "slides" as const, slide, query: { head: "x=y&z", empty: "" } };
    expect(placeOf(hashOf(place))).toEqual({ ...place, query: { head: "x=y&z" } });
  },
);
