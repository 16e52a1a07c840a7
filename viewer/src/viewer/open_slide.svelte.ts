/** The slide that is open, for what stands beside the viewer. */
import type { Stage } from "./stage.svelte";

class OpenSlide {
  /** Null in other views, and while a slide is being opened. */
  stage: Stage | null = $state.raw(null);
}

export const openSlide = new OpenSlide();
