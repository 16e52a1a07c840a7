/** A search as the address tells it, and as the service takes it. */
import type { Schemas } from "../api/client";

/** What a search begins with. */
export type Start =
  | { kind: "tile"; tile_id: string }
  | { kind: "region"; slide_id: string; box: [number, number, number, number] }
  | { kind: "class"; task: string; label: string }
  /** An image by its vector, packed, and the beginning of the digest of the extractor that made it. */
  | { kind: "image"; digest: string; vector: string };

/** With the tiles that were judged since, "more like this" and "less like that". */
export interface FindQuery {
  start: Start;
  more: readonly string[];
  less: readonly string[];
}

export interface Filters {
  k: number;
  /** A condition as of `--where`. */
  where: string;
  /** Least share of tissue, 0 to 1. */
  tissue: number;
  exclude_same: "" | "slide" | "patient";
  /** Most tiles of one slide; 0 for any number. */
  per_slide: number;
  /** 0 to 1. */
  diverse: number;
}

export const NO_FILTERS: Filters = { k: 24, where: "", tissue: 0, exclude_same: "", per_slide: 0, diverse: 0 };

export function textOf({ start, more, less }: FindQuery): string {
  const judged = [...more.map((id) => `;+${id}`), ...less.map((id) => `;!${id}`)].join("");
  const quoted = encodeURIComponent;
  switch (start.kind) {
    case "tile":
      return `tile:${start.tile_id}${judged}`;
    case "region":
      return `region:${start.box.join(",")},${quoted(start.slide_id)}${judged}`;
    case "class":
      return `class:${quoted(start.task)},${quoted(start.label)}${judged}`;
    case "image":
      return `image:${start.digest},${start.vector}${judged}`;
  }
}

const TILE_ID = /^-?\d{1,19}$/;

/** The query of an address; null where it is none. */
export function queryOf(text: string): FindQuery | null {
  const [first = "", ...judged] = text.split(";");
  const start = startOf(first);
  const of = (sign: string) => judged.filter((each) => each[0] === sign).map((each) => each.slice(1));
  const [more, less] = [of("+"), of("!")];
  if (!start || more.length + less.length < judged.length) return null;
  return [...more, ...less].every((id) => TILE_ID.test(id)) ? { start, more, less } : null;
}

function startOf(text: string): Start | null {
  const [kind, ...rest] = text.split(":");
  const value = rest.join(":");
  try {
    switch (kind) {
      case "tile":
        return TILE_ID.test(value) ? { kind, tile_id: value } : null;
      case "region": {
        const parts = value.split(",");
        const box = parts.slice(0, 4).map(Number) as [number, number, number, number];
        if (parts.length !== 5 || !box.every(Number.isInteger)) return null;
        return { kind, box, slide_id: decodeURIComponent(parts[4]!) };
      }
      case "class": {
        const [task, label] = value.split(",").map(decodeURIComponent);
        return task && label ? { kind, task, label } : null;
      }
      case "image": {
        const [digest = "", vector = ""] = value.split(",");
        return digest && /^[\w-]+$/.test(vector) ? { kind, digest, vector } : null;
      }
    }
  } catch {
    return null; // a quoted name that is none
  }
  return null;
}

export function filtersText(filters: Filters): string {
  const changed = Object.entries(filters).filter(([name, value]) => value !== NO_FILTERS[name as keyof Filters]);
  return String(new URLSearchParams(changed.map(([name, value]) => [name, String(value)])));
}

export function filtersOf(text: string): Filters {
  const given = new URLSearchParams(text);
  const number = (name: "k" | "tissue" | "per_slide" | "diverse", most: number) => {
    const value = Number(given.get(name) ?? NO_FILTERS[name]);
    return value >= 0 && value <= most ? value : NO_FILTERS[name];
  };
  const same = given.get("exclude_same");
  return {
    k: Math.max(1, Math.round(number("k", 500))),
    where: given.get("where") ?? "",
    tissue: number("tissue", 1),
    exclude_same: same === "slide" || same === "patient" ? same : "",
    per_slide: Math.round(number("per_slide", 500)),
    diverse: number("diverse", 1),
  };
}

/** The query with tiles judged: "more like this" or "less like that"; a tile that was judged so already is let go. */
export function judged(query: FindQuery, ids: readonly string[], as: "more" | "less"): FindQuery {
  const other = as === "more" ? "less" : "more";
  const again = ids.every((id) => query[as].includes(id));
  const kept = query[as].filter((id) => !ids.includes(id));
  const next = {
    ...query,
    [as]: again ? kept : [...kept, ...ids],
    [other]: query[other].filter((id) => !ids.includes(id)),
  };
  return next as FindQuery;
}

/** A condition and the least tissue as one condition. */
export function whereOf({ where, tissue }: Pick<Filters, "where" | "tissue">): string | undefined {
  const parts = [where.trim() && `(${where.trim()})`, tissue > 0 && `tissue >= ${tissue}`].filter(Boolean);
  return parts.length ? parts.join(" AND ") : undefined;
}

type Example = Schemas["SearchBody"]["query"];

/** The body of a search, given the example that it starts with. */
export function bodyOf(example: Example, query: FindQuery, filters: Filters): Schemas["SearchBody"] {
  const { start, more, less } = query;
  const ofSlides = start.kind !== "image" || more.length > 0; // an image and words are of no slide: none is left out
  const tiles = (ids: readonly string[]) => ids.map((tile_id) => ({ tile_id }));
  return {
    query: example,
    more_like: tiles(more),
    away_from: tiles(less),
    k: filters.k,
    where: whereOf(filters),
    exclude_same: (ofSlides && filters.exclude_same) || undefined,
    per_slide: filters.per_slide || undefined,
    diverse: filters.diverse,
  } as Schemas["SearchBody"];
}
