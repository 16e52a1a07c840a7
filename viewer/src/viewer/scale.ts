/** How large things are on the screen: scale bar, micrometres a pixel, magnification. */
import type { SlideFacts } from "./stage.svelte";

/** Of an objective of 1×, micrometres a pixel: 40× is 0.25. */
const MPP_OF_1X = 10;
/** Steps of the keys. */
export const MAGNIFICATIONS = [1, 5, 10, 20, 40] as const;

export interface ScaleBar {
  /** CSS pixels. */
  width: number;
  text: string;
}

/** The longest bar of a round length (1, 2 or 5 times a power of ten) that is no wider than `most` CSS pixels. */
export function scaleBar(mpp: number | null, scale: number, most: number): ScaleBar {
  const unit = mpp ?? 1; // µm, or level-0 pixels
  const longest = (most * unit) / scale;
  const power = 10 ** Math.floor(Math.log10(longest));
  const length = power * ([5, 2].find((times) => times * power <= longest) ?? 1);
  return { width: (length * scale) / unit, text: mpp === null ? `${round(length)} px` : lengthText(length) };
}

export function lengthText(um: number): string {
  if (um >= 1000) return `${round(um / 1000)} mm`;
  return um >= 1 ? `${round(um)} µm` : `${round(um * 1000)} nm`;
}

const round = (value: number) => value.toLocaleString("en", { maximumSignificantDigits: 3 });

/** Magnification of level 0, as the file says, or else by its resolution; null where neither is known. */
export function magnificationOfLevelZero({ magnification, mpp }: Pick<SlideFacts, "magnification" | "mpp">) {
  return magnification ?? (mpp === null ? null : MPP_OF_1X / mpp);
}

/** `20× · 0.50 µm/px`, of what is on the screen. */
export function zoomText(facts: Pick<SlideFacts, "magnification" | "mpp">, scale: number): string {
  const full = magnificationOfLevelZero(facts);
  const parts = full === null ? [`${round(scale * 100)} %`] : [`${(full * scale).toPrecision(2)}×`];
  if (full !== null) parts[0] = `${Number((full * scale).toPrecision(full * scale >= 10 ? 3 : 2))}×`;
  if (facts.mpp !== null) parts.push(`${(facts.mpp / scale).toPrecision(facts.mpp / scale >= 100 ? 3 : 2)} µm/px`);
  return parts.join(" · ");
}
