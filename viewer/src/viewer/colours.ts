/** Colours of heat maps: viridis (perceptually uniform, told apart with any colour vision) without its purple end, which
 * looks like haematoxylin; the same as in the pictures that the service draws. */

// every eighth of its 256 colours, #rrggbb
const STEPS =
  "3e4989,3b508a,38568b,355d8c,32638d,2f698d,2d6f8e,2a768e,287b8e,26818e,23878d,218c8d,1f938b,1e998a,1e9e88,20a485,24aa82," +
  "2ab07e,32b57a,3bba75,47c06e,53c567,60c960,6dce58,7ed24e,8dd644,9dd93a,addc30,bfdf24,cfe11c,dfe318,eee51b,fde724";
const RGB = STEPS.split(",").map((hex) => [0, 2, 4].map((i) => parseInt(hex.slice(i, i + 2), 16)));

export type Rgb = readonly [red: number, green: number, blue: number];

/** The colour of a value from 0 to 1. */
export function heatColour(value: number): Rgb {
  const at = Math.min(1, Math.max(0, value)) * (RGB.length - 1);
  const low = Math.min(RGB.length - 2, Math.floor(at));
  const [a, b, share] = [RGB[low]!, RGB[low + 1]!, at - low];
  return [0, 1, 2].map((i) => Math.round(a[i]! + share * (b[i]! - a[i]!))) as unknown as Rgb;
}

/** A pixel as ImageData has it in a Uint32Array (little-endian: alpha, blue, green, red). */
export const pixel = ([red, green, blue]: Rgb) => ((255 << 24) | (blue << 16) | (green << 8) | red) >>> 0;

export function rgbOf(hex: string): Rgb {
  const digits = hex.length === 4 ? [...hex.slice(1)].map((digit) => digit + digit).join("") : hex.slice(1);
  return [0, 2, 4].map((i) => parseInt(digits.slice(i, i + 2), 16)) as unknown as Rgb;
}

/** For a legend: a CSS gradient from 0 to 1. */
export const GRADIENT = `linear-gradient(to right, ${STEPS.split(",")
  .map((hex) => `#${hex}`)
  .join(",")})`;

/** Largest byte that stands for a value; the next stands for none. */
export const MOST_BYTE = 254;

/** The pixel of each byte of a raster: transparent below the threshold (0 to 1), and where no tile is. */
export function heatTable(threshold: number): Uint32Array<ArrayBuffer> {
  const table = new Uint32Array(256);
  for (let byte = Math.ceil(threshold * MOST_BYTE - 1e-9); byte <= MOST_BYTE; byte++)
    table[byte] = pixel(heatColour(byte / MOST_BYTE));
  return table;
}
