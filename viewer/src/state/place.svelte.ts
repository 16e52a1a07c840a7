/** Where the user is, as the address of the page tells it: a link opens the same place again.
 *
 * `#/slides` · `#/slides/<slide_id>?x=…&y=…&zoom=…&head=…` · `#/map?…` · `#/heads`
 */

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
    slide: view === "slides" && rest.length ? decodeURIComponent(rest.join("/")) : null,
    query: Object.fromEntries(new URLSearchParams(query)),
  };
}

export function hashOf({ view, slide, query }: Place): string {
  const path = view === "slides" && slide !== null ? `slides/${encodeURIComponent(slide)}` : view;
  const kept = Object.entries(query).filter(([, value]) => value !== "");
  return `#/${path}` + (kept.length ? `?${new URLSearchParams(kept)}` : "");
}

class CurrentPlace {
  #place: Place = $state.raw(placeOf(globalThis.location?.hash ?? ""));
  // whoever reads these hears of another view or slide, not of each change to the query
  readonly view: ViewName = $derived(this.#place.view);
  readonly slide: string | null = $derived(this.#place.slide);

  constructor() {
    globalThis.addEventListener?.("hashchange", () => (this.#place = placeOf(location.hash)));
  }

  get query(): Record<string, string> {
    return this.#place.query;
  }

  /** Go somewhere else; the browser's Back leads here again. What is in KEPT goes along. */
  go(view: ViewName, slide: string | null = null, query: Record<string, string> = {}): void {
    const kept = Object.fromEntries(KEPT.flatMap((name) => (this.query[name] ? [[name, this.query[name]]] : [])));
    location.hash = hashOf({ view, slide, query: { ...kept, ...query } });
  }

  /** Change parts of the query where one stands; an empty text removes one. No step for Back. */
  set(changes: Record<string, string>): void {
    const query = { ...this.#place.query, ...changes };
    for (const [name, value] of Object.entries(query)) if (value === "") delete query[name];
    this.#place = { ...this.#place, query };
    history.replaceState(null, "", hashOf(this.#place));
  }
}

/** What one chose stays chosen from view to view. */
const KEPT = ["collection", "head", "task", "find", "filters", "panel"];

export const place = new CurrentPlace();
