/** Pieces of the slide's picture that did not come: asked for again when the service is back, and now and then. */
import type OpenSeadragon from "openseadragon";

import { OfflineError, request } from "../api/client";
import { connection } from "../state/connection.svelte";
import type { Stage } from "./stage.svelte";

/** Time until pieces are asked for again; twice as long each time, up to the last. */
const FIRST_MS = 1000;
const LAST_MS = 60_000;
/** Time after which those that were asked for again have not failed again. */
const CALM_MS = 5000;

interface Failed {
  tile: OpenSeadragon.Tile;
  tiledImage: OpenSeadragon.TiledImage;
}

/** OpenSeadragon never asks again for what failed once: a slide would stay blurred, or with holes. Returns what ends it. */
export function askAgain(viewer: OpenSeadragon.Viewer, stage: Stage): () => void {
  const lost = new Map<OpenSeadragon.Tile, OpenSeadragon.TiledImage>();
  const retried = new WeakSet<OpenSeadragon.Tile>();
  let timer: ReturnType<typeof setTimeout> | undefined;
  let calm: ReturnType<typeof setTimeout> | undefined;
  let wait = FIRST_MS;
  let ended = false;

  const again = () => {
    [timer, calm].forEach(clearTimeout);
    timer = undefined;
    const images = new Set(lost.values());
    for (const tile of lost.keys()) {
      tile.exists = true;
      retried.add(tile);
    }
    lost.clear();
    for (const image of images) image.update(true);
    calm = setTimeout(forget, CALM_MS);
  };
  const forget = () => {
    if (lost.size === 0) stage.pictureError = null;
  };
  const later = () => {
    timer ??= setTimeout(again, wait);
    wait = Math.min(2 * wait, LAST_MS);
  };

  /** Why: whether the service is away, wants another token, or cannot read the slide there. */
  async function ask(url: string): Promise<void> {
    try {
      await request(url);
      if (!ended && lost.size) later();
    } catch (error) {
      if (ended) return;
      if (error instanceof OfflineError) return; // asked for when it is back
      stage.pictureError = error as Error;
      later();
    }
  }

  let asking: Promise<void> | null = null;
  const listen = (to: OpenSeadragon.Viewer) => {
    to.addHandler("tile-load-failed", ({ tile, tiledImage }: Failed) => {
      // it is marked as missing once this returns
      lost.set(tile, tiledImage);
      if (timer === undefined) asking ??= ask(tile.getUrl()).finally(() => (asking = null));
    });
    to.addHandler("tile-loaded", ({ tile }) => {
      stage.hasPicture = true;
      if (!retried.delete(tile)) return;
      wait = FIRST_MS;
      forget();
    });
  };
  listen(viewer);
  if (viewer.navigator) listen(viewer.navigator);

  const endReturned = $effect.root(() => {
    $effect(() => {
      void connection.returned;
      again();
    });
  });
  return () => {
    ended = true;
    [timer, calm].forEach(clearTimeout);
    endReturned();
  };
}
