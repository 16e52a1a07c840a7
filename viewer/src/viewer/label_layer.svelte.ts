/** The labels of a task on a slide, of every author, in the colours of their classes. */
import { untrack } from "svelte";

import { classLooks, type ClassLook } from "../design/classes";
import { connection } from "../state/connection.svelte";
import { labelsOf, marks, type LabelRow } from "../state/marks.svelte";
import { Newest } from "../state/newest";
import { place } from "../state/place.svelte";
import { store } from "../state/store.svelte";
import type { Look } from "./look.svelte";
import type { Point, Stage, Viewport } from "./stage.svelte";
import { boundsOf, isInside, type Rectangle } from "./tiles.svelte";

/** Radius of a labelled point on the screen, CSS pixels. */
const POINT_PX = 5;

export interface ShownLabel {
  label: string;
  author: string;
  kind: LabelRow["kind"];
  look: ClassLook;
  /** Level-0 pixels; of a point without size. Null where it is about no part of the slide. */
  box: Rectangle | null;
  /** Of an area, polygon after polygon, each with its outer ring and its holes. */
  rings: Point[][];
}

/** The rings of a geometry of GeoJSON; none of a point. */
export function ringsOf(geometry: LabelRow["geometry"]): Point[][] {
  const points = (ring: number[][]) => ring.map(([x, y]) => ({ x: x!, y: y! }));
  if (geometry?.type === "Polygon") return (geometry.coordinates as number[][][]).map(points);
  if (geometry?.type === "MultiPolygon") return (geometry.coordinates as number[][][][]).flat().map(points);
  return [];
}

/** A row as it is drawn. */
export function shownLabel(row: LabelRow, look: ClassLook): ShownLabel {
  const rings = ringsOf(row.geometry);
  const at = row.geometry?.type === "Point" ? (row.geometry.coordinates as number[]) : [row.x, row.y];
  let box: Rectangle | null = null;
  if (rings.length) box = boundsOf(rings.flat());
  else if (at[0] != null && at[1] != null) {
    const edge = row.kind === "tile" ? (row.edge_l0 ?? 0) : 0;
    box = { x: at[0], y: at[1], width: edge, height: edge };
  }
  return { label: row.label, author: row.author, kind: row.kind, look, box, rings };
}

/** Whether a label is about a place. */
export function covers({ box, rings }: ShownLabel, point: Point): boolean {
  if (!box || point.x < box.x || point.y < box.y) return false;
  if (point.x >= box.x + box.width || point.y >= box.y + box.height) return false;
  return rings.length === 0 || rings.filter((ring) => isInside(point, ring)).length % 2 === 1;
}

/** The labels of the task that is looked at. */
export class SlideLabels {
  all: ShownLabel[] = $state.raw([]);
  error: Error | null = $state.raw(null);
  #readings = new Newest();

  /** Authors in the order of their names. */
  readonly authors: string[] = $derived([...new Set(this.all.map(({ author }) => author))].sort());
  readonly hidden: Set<string> = $derived(new Set((place.query.without ?? "").split("\n").filter(Boolean)));
  readonly shown: ShownLabel[] = $derived(this.all.filter(({ author }) => !this.hidden.has(author)));
  readonly counts: { look: ClassLook; text: string }[] = $derived(
    classLooksOf(this.shown).map((look) => ({
      look,
      text: countText(this.shown.filter(({ label }) => label === look.label)),
    })),
  );

  toggle(author: string): void {
    const hidden = new Set(this.hidden);
    if (!hidden.delete(author)) hidden.add(author);
    place.set({ without: [...hidden].join("\n") });
  }

  async load(task: string | null, slide: string): Promise<void> {
    try {
      await this.#readings.read(
        async () => (task ? await labelsOf(task, { slide_id: slide }) : []),
        (rows) => this.#show(rows),
      );
    } catch (error) {
      [this.all, this.error] = [[], error as Error];
    }
  }

  #show(rows: LabelRow[]): void {
    const looks = new Map(marks.classes.map((look) => [look.label, look]));
    const missing = [...new Set(rows.map(({ label }) => label))].filter((label) => !looks.has(label));
    for (const look of classLooks([...looks.keys(), ...missing])) looks.set(look.label, look);
    [this.all, this.error] = [rows.map((row) => shownLabel(row, looks.get(row.label)!)), null];
  }
}

/** "2 areas, 14 tiles"; labels that are about no place say what they are about. */
export function countText(labels: readonly Pick<ShownLabel, "kind">[]): string {
  const names = { tile: "tile", point: "point", area: "area" } as const;
  const parts = (Object.keys(names) as (keyof typeof names)[]).flatMap((kind) => {
    const count = labels.filter((each) => each.kind === kind).length;
    return count ? [`${count.toLocaleString("en")} ${names[kind]}${count > 1 ? "s" : ""}`] : [];
  });
  if (labels.some(({ kind }) => kind === "rest")) parts.push("the rest");
  if (labels.some(({ kind }) => kind === "slide")) parts.push("the slide");
  if (labels.some(({ kind }) => kind === "patient")) parts.push("the patient");
  return parts.join(", ");
}

const classLooksOf = (labels: readonly ShownLabel[]) => [
  ...new Map(labels.map(({ look }) => [look.label, look])).values(),
];

export function showLabels(stage: Stage, look: Look): void {
  const { labels } = look;
  const task = $derived(marks.task);
  const classes = $derived(marks.classes.map(({ label }) => label).join("\n"));
  $effect(() => {
    void [connection.returned, marks.saved, marks.visits, classes];
    const asked = look.isShown("labels") ? task : null;
    untrack(() => void labels.load(asked, stage.slide));
  });
  $effect(() => {
    if (!look.isShown("labels")) return;
    const shown = labels.shown;
    const paths = new Map(shown.filter(({ rings }) => rings.length).map((label) => [label, pathOf(label.rings)]));
    return stage.add({
      name: "labels",
      order: 40,
      draw(context, viewport) {
        const isMarking = stage.layers.some(({ name }) => name === "marks"); // which draws one's own tiles
        const me = store.facts?.caller;
        for (const label of shown) {
          if (isMarking && label.kind === "tile" && label.author === me) continue;
          if (isOnScreen(label.box, viewport)) draw(context, viewport, label, paths.get(label));
        }
      },
      tell(point) {
        const here = shown.filter((label) => covers(label, point)).map(({ label, author }) => `${author}: ${label}`);
        return here.length ? [...new Set(here)].join(", ") : null;
      },
    });
  });
}

function pathOf(rings: readonly Point[][]): Path2D {
  const path = new Path2D();
  for (const ring of rings) {
    ring.forEach(({ x, y }, i) => (i ? path.lineTo(x, y) : path.moveTo(x, y)));
    path.closePath();
  }
  return path;
}

function isOnScreen(box: Rectangle | null, { x, y, scale, width, height }: Viewport): boolean {
  const rim = POINT_PX / scale;
  if (!box || box.x > x + width / scale + rim || box.y > y + height / scale + rim) return false;
  return box.x + box.width + rim >= x && box.y + box.height + rim >= y;
}

function draw(
  context: CanvasRenderingContext2D,
  viewport: Viewport,
  label: ShownLabel,
  path: Path2D | undefined,
): void {
  const { look, box, kind } = label;
  const { scale } = viewport;
  const [left, top, size] = [(box!.x - viewport.x) * scale, (box!.y - viewport.y) * scale, box!.width * scale];
  context.fillStyle = context.strokeStyle = look.color;
  if (path) {
    context.save();
    context.translate(-viewport.x * scale, -viewport.y * scale);
    context.scale(scale, scale);
    context.globalAlpha = 0.12;
    context.fill(path, "evenodd");
    context.globalAlpha = 1;
    context.lineWidth = 2 / scale;
    context.stroke(path);
    context.restore();
    const { x, y } = label.rings[0]!.reduce((a, b) => (b.y < a.y ? b : a)); // the topmost corner
    drawLetter(context, look, (x - viewport.x) * scale - 8, (y - viewport.y) * scale - 1, size);
  } else if (kind === "tile" && size > 0) {
    context.globalAlpha = 0.25;
    context.fillRect(left, top, Math.max(2, size), Math.max(2, size));
    context.globalAlpha = 1;
    context.lineWidth = Math.min(2, Math.max(0.5, size / 12));
    context.strokeRect(left + 1, top + 1, Math.max(1, size - 2), Math.max(1, size - 2));
    drawLetter(context, look, left, top, size);
  } else {
    context.beginPath();
    context.arc(left, top, POINT_PX, 0, 2 * Math.PI);
    context.globalAlpha = 1;
    context.fill();
    context.lineWidth = 1.5;
    context.strokeStyle = "#fff";
    context.stroke();
  }
}

/** Edge on the screen from which a label has the letter of its class, CSS pixels. */
const LETTER_PX = 28;

function drawLetter(
  context: CanvasRenderingContext2D,
  { color, ink, letter }: ClassLook,
  x: number,
  y: number,
  size: number,
) {
  if (size < LETTER_PX) return;
  context.font = "700 11px system-ui, sans-serif";
  context.textAlign = "center";
  context.textBaseline = "middle";
  const width = Math.max(15, context.measureText(letter).width + 7);
  context.fillStyle = color;
  context.fillRect(x, y, width, 15);
  context.fillStyle = ink;
  context.fillText(letter, x + width / 2, y + 8);
}
