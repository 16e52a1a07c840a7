/** Opens the slide of a tile there, with the tile framed. */
import { place } from "../state/place.svelte";
import { openSlide } from "../viewer/open_slide.svelte";
import type { TileItem } from "./tiles";

/** Width of an opened tile on the screen, CSS pixels. */
const SHOWN_PX = 220;

export function openTile({ slide_id, x, y, edge_l0 }: TileItem): void {
  if (!edge_l0) return; // a ready-made tile lies nowhere
  const [middle, scale] = [{ x: x + edge_l0 / 2, y: y + edge_l0 / 2 }, SHOWN_PX / edge_l0];
  const framed = `${x},${y},${edge_l0}`;
  if (openSlide.stage?.slide === slide_id) {
    place.set({ frame: framed });
    openSlide.stage.goTo(middle, scale);
  } else {
    const { panel = "", find = "" } = place.query;
    const there = { x: middle.x.toFixed(0), y: middle.y.toFixed(0), zoom: scale.toPrecision(4), frame: framed };
    place.go("slides", slide_id, { ...there, panel, find });
  }
}
