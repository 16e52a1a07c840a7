/** OpenSeadragon, set up for the slides of the service. */
import OpenSeadragon from "openseadragon";

import { address } from "../api/client";
import { connection } from "../state/connection.svelte";
import type { Stage } from "./stage.svelte";

/** Of the overview's longer side, CSS pixels; on a narrow screen a smaller part of it. */
const OVERVIEW = 160;
const OVERVIEW_SHARE = 0.25;

// OpenSeadragon adds a style sheet, which the content security policy forbids, unless it finds its own: this element of
// no language passes for it.
const FOUND = "data-openseadragon-mobile-css";
function foundStyle(): void {
  if (document.querySelector(`style[${FOUND}]`)) return;
  const style = document.createElementNS("embedstore", "style");
  style.setAttribute(FOUND, "true");
  document.head.append(style);
}

export function openSlide(element: HTMLElement, { slide, facts }: Stage): OpenSeadragon.Viewer {
  foundStyle();
  const [width, height] = facts.size_l0;
  const longer = Math.min(OVERVIEW, OVERVIEW_SHARE * element.clientWidth);
  const overview = longer / Math.max(width, height);
  const token = connection.token;
  return OpenSeadragon({
    element,
    drawer: "canvas",
    showNavigationControl: false,
    keyboardNavEnabled: false, // our keys do
    animationTime: 0.4,
    clickTimeThreshold: Infinity, // a press that stays in its place is a click, however long it was
    maxZoomPixelRatio: 8,
    visibilityRatio: 0.2,
    preserveImageSizeOnResize: true, // a strip that opens below does not change the magnification
    gestureSettingsMouse: { clickToZoom: false, dblClickToZoom: true },
    showNavigator: true,
    navigatorPosition: "TOP_RIGHT",
    navigatorWidth: Math.max(48, width * overview),
    navigatorHeight: Math.max(48, height * overview),
    navigatorBackground: "var(--surface)",
    navigatorBorderColor: "var(--line-strong)",
    navigatorDisplayRegionColor: "var(--accent)",
    loadTilesWithAjax: token !== "",
    ajaxHeaders: token ? { Authorization: `Bearer ${token}` } : {},
    tileSources: {
      width,
      height,
      tileSize: facts.tile_px,
      tileOverlap: facts.overlap_px,
      minLevel: facts.min_level,
      maxLevel: facts.max_level,
      getTileUrl: (level: number, x: number, y: number) =>
        address`/api/slides/${slide}/deep-zoom_files/${level}/${x}_${y}.jpeg`,
    } as unknown as OpenSeadragon.TileSourceOptions,
  });
}
