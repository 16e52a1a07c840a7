/** Where the user is, as the address of the page tells it: a link opens the same place again.
 *
 * `#/slides` · `#/slides/<slide_id>?x=…&y=…&zoom=…&head=…` · `#/map?…` · `#/heads`
 */

import { untrack } from "svelte";

export type ViewName = "slides" | "map" | "heads";
const VIEWS: readonly string[] = ["slides", "map", "heads"];

export interface Place {
  view: ViewName;
  /** The slide that is open. */
  slide: string | null;
  /** Everything else: collection, head, layers, filters. */
  query: Record<string, string>;
}

export function placeOf(hash: string): Place {
  const [path = "", query = ""] = hash.replace(/^#\/?/, "").split("?", 2);
  const [view = "", ...rest] = path.split("/");
  return {
    view: VIEWS.includes(view) ? (view as ViewName) : "slides",
    slide: view === "slides" && rest.length ? unquoted(rest.join("/")) : null,
    query: Object.fromEntries(new URLSearchParams(query)),
  };
}

/** A name as a link has it; as it stands where somebody wrote it by hand, with a "%" that quotes nothing. */
function unquoted(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

export function hashOf({ view, slide, query }: Place): string {
  const path = view === "slides" && slide !== null ? `slides/${encodeURIComponent(slide)}` : view;
  const kept = Object.entries(query).filter(([, value]) => value !== "");
  return `#/${path}` + (kept.length ? `?${new URLSearchParams(kept)}` : "");
}

class CurrentPlace {
  // each part by itself: whoever reads one hears of its changes alone
  #view: ViewName = $state("slides");
  #slide: string | null = $state(null);
  #query: Record<string, string> = $state({});
  /** How the wall and the map were left: their filters, order and colours. */
  #left = new Map<ViewName, Record<string, string>>();

  constructor() {
    this.#become(placeOf(globalThis.location?.hash ?? ""));
    globalThis.addEventListener?.("hashchange", () => this.#become(placeOf(location.hash)));
  }

  get view(): ViewName {
    return this.#view;
  }
  get slide(): string | null {
    return this.#slide;
  }
  get query(): Readonly<Record<string, string>> {
    return this.#query;
  }

  /** Go somewhere else; the browser's Back leads here again. What is in KEPT goes along, and a view is as it was left. */
  go(view: ViewName, slide: string | null = null, query: Record<string, string> = {}): void {
    untrack(() => {
      const isHere = view === this.#view && slide === this.#slide;
      const left = slide === null && !isHere ? this.#left.get(view) : {};
      const kept = KEPT.flatMap((name) => (this.#query[name] ? [[name, this.#query[name]]] : []));
      location.hash = hashOf({ view, slide, query: { ...left, ...Object.fromEntries(kept), ...query } });
    });
  }

  /** Change parts of the query where one stands; an empty text removes one. No step for Back. */
  set(changes: Record<string, string>): void {
    untrack(() => {
      for (const [name, value] of Object.entries(changes)) this.#change(name, value);
      history.replaceState(null, "", hashOf({ view: this.#view, slide: this.#slide, query: this.#query }));
    });
  }

  #become({ view, slide, query }: Place): void {
    if (this.#slide === null && (view !== this.#view || slide !== null)) {
      const own = Object.entries(this.#query).filter(([name]) => !KEPT.includes(name) && name !== "about");
      this.#left.set(this.#view, Object.fromEntries(own));
    }
    [this.#view, this.#slide] = [view, slide];
    for (const name of Object.keys({ ...this.#query, ...query })) this.#change(name, query[name] ?? "");
  }

  #change(name: string, value: string): void {
    if (value === "") delete this.#query[name];
    else this.#query[name] = value;
  }
}

/** What one chose stays chosen from view to view. */
const KEPT = [
  ...["collection", "head", "task", "find", "filters", "panel"],
  ...["class", "beside", "besideclass", "opacity", "threshold", "divide", "show", "without"],
];

export const place = new CurrentPlace();
