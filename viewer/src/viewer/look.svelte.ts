/** How a slide is looked at: which layers are shown and how. What a link should open again is in the address. */
import { untrack } from "svelte";

import { body, client, ServiceError } from "../api/client";
import { heads, type Head } from "../state/heads.svelte";
import { marks } from "../state/marks.svelte";
import { Newest } from "../state/newest";
import { place } from "../state/place.svelte";
import { rgbOf } from "./colours";
import { showCells } from "./cell_layers.svelte";
import { heatMap, type HeatMap } from "./heat_map";
import { showLabels, SlideLabels } from "./label_layer.svelte";
import type { Stage } from "./stage.svelte";

/** In the place of a class: each tile in the colour of the class that is decided on. */
export const DECIDED = "*";
export const SHOWN = ["tissue", "grid", "labels"] as const;
export type ShownName = (typeof SHOWN)[number];
/** Time after which a slider that rests is written into the address. */
const WRITE_MS = 250;
const OPACITY = 0.6;

const percent = (text: string | undefined, otherwise: number) =>
  text === undefined || !Number.isFinite(Number(text)) ? otherwise : Math.min(100, Math.max(0, Number(text))) / 100;

/** What a head for slides says of one of them. */
interface Verdict {
  label: string;
  /** Of each class. */
  probabilities: [string, number][];
}

/** Whether a head says anything of single tiles: of those for slides only attention does. */
const tellsOfTiles = ({ level, model }: Head) => level === "tile" || model === "abmil";

/** One head on the slide; of two, each has a side. */
export class HeatView {
  map: HeatMap | null = $state.raw(null);
  /** Of a head for slides. */
  verdict: Verdict | null = $state.raw(null);
  /** The head has not predicted this slide. */
  isAbsent: boolean = $state(false);
  error: Error | null = $state.raw(null);
  #readings = new Newest();

  constructor(
    readonly headKey: "head" | "beside",
    readonly classKey: "class" | "besideclass",
  ) {}

  get head(): string {
    return place.query[this.headKey] ?? "";
  }
  /** What can be shown of the head: its classes, and what it decides on. */
  get choices(): string[] {
    if (!this.map) return [];
    const { planes, level } = this.map.facts;
    return planes.length > 1 && level === "tile" ? [...planes, DECIDED] : planes;
  }
  get shown(): string {
    const asked = place.query[this.classKey];
    return asked && this.choices.includes(asked) ? asked : (this.map?.facts.planes[this.map.plane(asked)] ?? "");
  }

  choose(head: string): void {
    place.set({ [this.headKey]: head, [this.classKey]: "" });
  }
  chooseClass(name: string): void {
    place.set({ [this.classKey]: name });
  }

  /** What the head says of a place: [what, value], or null where no tile is. */
  at(point: { x: number; y: number }): { text: string; value: number } | null {
    const map = this.map;
    if (!map) return null;
    const cell = map.cell(point);
    const plane = this.shown === DECIDED ? map.decision(cell) : map.plane(this.shown);
    const value = plane === null ? null : map.value(plane, cell);
    if (value === null || plane === null) return null;
    const name = map.facts.planes[plane]!;
    return { text: map.facts.level === "tile" ? name : "attention, as rank", value };
  }

  async load(slide: string, revision: string): Promise<void> {
    const head = this.head;
    if (this.map?.facts.head !== head) [this.map, this.verdict] = [null, null];
    [this.isAbsent, this.error] = [false, null];
    if (!head) return;
    try {
      await this.#readings.read(
        () => saysOf(head, slide, revision),
        (said) => {
          if (head !== this.head) return;
          const [map, verdict] = said ?? [null, null];
          [this.map, this.verdict, this.error] = [map?.copy() ?? null, verdict, null];
          this.isAbsent = said !== null && map === null && verdict === null;
        },
      );
    } catch (error) {
      if (head !== this.head) return;
      [this.map, this.verdict] = [null, null];
      this.isAbsent = error instanceof ServiceError && error.kind === "PredictionsNotFoundError";
      if (!this.isAbsent) this.error = error as Error;
    }
  }
}

/** The heat map and the verdict of a head; null where the store has no such head. */
async function saysOf(head: string, slide: string, revision: string): Promise<[HeatMap | null, Verdict | null] | null> {
  const known = (await heads.known()).find(({ name }) => name === head);
  if (!known) return null;
  return Promise.all([
    tellsOfTiles(known) ? heatMap(head, slide, revision) : null,
    known.level === "tile" || !known.has_predicted ? null : verdictOf(known, slide),
  ]);
}

async function verdictOf({ name, classes }: Head, slide_id: string): Promise<Verdict | null> {
  const params = { path: { head: name }, query: { slide_id, limit: 1 } };
  const [row] = (await body(client.GET("/api/heads/{head}/predictions", { params }))).rows;
  if (!row) return null;
  const values = Object.entries(row).filter(([column]) => column.startsWith("p_")) as [string, number][];
  return { label: String(row.label), probabilities: classes.map((each, i) => [each, values[i]?.[1] ?? NaN]) };
}

export class Look {
  readonly left = new HeatView("head", "class");
  readonly right = new HeatView("beside", "besideclass");
  readonly labels = new SlideLabels();
  /** Of the heat map, 0 to 1. */
  opacity: number = $state(OPACITY);
  /** Tiles below are not coloured, 0 to 1. */
  threshold: number = $state(0);
  /** Where the second head begins, as a share of the width. */
  divide: number = $state(0.5);
  /** Nothing is drawn over the slide but marks in the making: for a look at the tissue alone. */
  isHidden: boolean = $state(false);
  #writing: ReturnType<typeof setTimeout> | undefined;

  constructor(readonly stage: Stage) {}

  get shown(): Set<string> {
    return new Set((place.query.show ?? "labels").split(","));
  }
  isShown(name: ShownName): boolean {
    return this.shown.has(name);
  }
  toggle(name: ShownName): void {
    const shown = SHOWN.filter((each) => this.isShown(each) !== (each === name));
    place.set({ show: shown.join(",") || "none" });
  }

  get isDivided(): boolean {
    return this.right.head !== "";
  }

  /** Follow the hand: drawn at once, and in the address when the hand rests. */
  slide(change: Partial<Pick<Look, "opacity" | "threshold" | "divide">>): void {
    Object.assign(this, change);
    clearTimeout(this.#writing);
    this.#writing = setTimeout(() => {
      this.#writing = undefined;
      const text = (share: number) => String(Math.round(share * 100));
      place.set({ opacity: text(this.opacity), threshold: text(this.threshold) });
      if (this.isDivided) place.set({ divide: text(this.divide) });
    }, WRITE_MS);
  }

  /** To be called by a component as it is made: loads what the address names, and draws it. */
  show(): void {
    $effect(() => {
      const { opacity, threshold, divide } = place.query;
      if (this.#writing !== undefined) return;
      this.opacity = percent(opacity, OPACITY);
      this.threshold = percent(threshold, 0);
      this.divide = percent(divide, 0.5);
    });
    showCells(this.stage, this);
    showLabels(this.stage, this);
    this.#showHeads();
  }

  #showHeads(): void {
    const { stage } = this;
    for (const view of [this.left, this.right]) {
      let head = $derived(view.head);
      $effect(() => {
        const revision = String(heads.revision);
        void head;
        untrack(() => void view.load(stage.slide, revision));
      });
      $effect(() => {
        const { map, shown } = view;
        if (!map) return;
        const looks = marks.looksOf(map.facts.planes).map(({ color }) => rgbOf(color));
        map.paint(shown === DECIDED ? looks : map.plane(shown), this.threshold);
        stage.redraw();
      });
      const isRight = view === this.right;
      $effect(() => {
        const { map } = view;
        if (!map) return;
        return stage.add({
          name: `heat map ${view.headKey}`,
          order: 10,
          draw: (context, viewport) => {
            const middle = this.isDivided ? viewport.width * this.divide : isRight ? 0 : viewport.width;
            context.beginPath();
            if (isRight) context.rect(middle, 0, viewport.width - middle, viewport.height);
            else context.rect(0, 0, middle, viewport.height);
            context.clip();
            context.globalAlpha = this.opacity;
            map.draw(context, viewport);
          },
          tell: (point) => {
            const { viewport } = stage;
            const isHere =
              !this.isDivided || (point.x - viewport.x) * viewport.scale > viewport.width * this.divide === isRight;
            const said = isHere ? view.at(point) : null;
            return said && `${said.text} ${said.value.toFixed(2)}`;
          },
        });
      });
    }
    $effect(() => {
      void [this.opacity, this.divide, this.isDivided, this.isHidden];
      stage.redraw();
    });
  }
}
