/** The pointer on the slide: pans, unless a tool takes it. */
import OpenSeadragon from "openseadragon";

import type { Stage } from "./stage.svelte";

/** Let the stage's tool have the pointer; returns what ends it. */
export function usePointer(viewer: OpenSeadragon.Viewer, stage: Stage): () => void {
  let isHeld = false; // by the tool, since it was pressed
  let pans = false; // though there is a tool: Space is down
  const levelZero = ({ position }: { position: OpenSeadragon.Point }) =>
    viewer.viewport.viewerElementToImageCoordinates(position);
  const original = (event: { originalEvent: Event }) => event.originalEvent as PointerEvent;
  const showCursor = () => {
    viewer.canvas.style.cursor = pans ? "grab" : (stage.tool?.cursor ?? "");
  };

  viewer.addHandler("canvas-press", (event) => {
    isHeld = !pans && (stage.tool?.down?.(levelZero(event), original(event)) ?? false);
  });
  viewer.addHandler("canvas-drag", (event) => {
    if (!isHeld) return;
    event.preventDefaultAction = true;
    stage.tool?.move?.(levelZero(event), original(event));
  });
  viewer.addHandler("canvas-drag-end", (event) => {
    if (stage.tool && !pans) (event as { preventDefaultAction?: boolean }).preventDefaultAction = true; // no flick
  });
  viewer.addHandler("canvas-release", (event) => {
    if (isHeld) stage.tool?.up?.(levelZero(event), original(event));
    // canvas-click, which comes next, is none where the tool had the pointer
    queueMicrotask(() => (isHeld = false));
  });
  viewer.addHandler("canvas-click", (event) => {
    if (event.quick && !isHeld) stage.tool?.click?.(levelZero(event), original(event));
  });
  viewer.addHandler("canvas-double-click", (event) => {
    if (stage.tool) event.preventDefaultAction = true;
  });
  const tracker = new OpenSeadragon.MouseTracker({
    element: viewer.canvas,
    moveHandler: (event) => (stage.pointer = levelZero(event as { position: OpenSeadragon.Point })),
    leaveHandler: () => (stage.pointer = null),
  });

  const onKey = (event: KeyboardEvent) => {
    const isDown = event.type === "keydown";
    if (event.key === " " && isOnSlide(event.target)) {
      event.preventDefault();
      pans = isDown;
      showCursor();
    }
    if (
      event.key === "Escape" &&
      isDown &&
      stage.tool &&
      !event.defaultPrevented &&
      !document.querySelector("dialog[open]")
    ) {
      event.preventDefault();
      if (isHeld) stage.tool.cancel?.();
      else stage.tool = null;
      isHeld = false;
    }
  };
  const isOnSlide = (target: EventTarget | null) => target === document.body || viewer.element.contains(target as Node);
  addEventListener("keydown", onKey);
  addEventListener("keyup", onKey);
  const endCursor = $effect.root(() => {
    $effect(showCursor);
  });
  return () => {
    removeEventListener("keydown", onKey);
    removeEventListener("keyup", onKey);
    endCursor();
    tracker.destroy();
  };
}
