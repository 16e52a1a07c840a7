/** The task that is taught: its classes, one's own marks, and what others say. The viewer, strips and the map use it. */
import { untrack } from "svelte";

import { body, client, ServiceError } from "../api/client";
import { classLooks, type ClassLook } from "../design/classes";
import { connection } from "./connection.svelte";
import { keep, keptRecord } from "./kept";
import { keys } from "./keys.svelte";
import { MarkSteps, placeKey, type Change, type MarkTile, type TilePlace } from "./mark_steps";
import { Newest } from "./newest";
import { place } from "./place.svelte";
import { store } from "./store.svelte";

/** A label that stands, of anybody. */
export interface LabelRow extends TilePlace {
  label_key: string;
  label: string;
  kind: "tile" | "point" | "area" | "rest" | "slide" | "patient";
  author: string;
  /** Of an area, level-0 pixels. */
  geometry: { type: string; coordinates: unknown } | null;
}

/** Labels of one task, class, kind, author and file, counted. */
interface SummaryRow {
  task: string;
  label: string;
  kind: LabelRow["kind"];
  author: string;
  labels: number;
  first: string;
}

export interface ChangeRow {
  change: string;
  author: string;
  at: string;
  added: number;
  withdrawn: number;
  undoes: string | null;
  undone_by: string | null;
}

/** Statuses of what would be refused again. */
const REFUSED = [400, 403, 404, 422];

const CLASSES_KEY = "embedstore-classes";

/** Classes as they were named here, then in the order of their first labels: a new one changes the look of no other. */
export function classOrder(named: readonly string[], rows: readonly Pick<SummaryRow, "label" | "first">[]): string[] {
  const labelled = rows.toSorted((a, b) => a.first.localeCompare(b.first)).map(({ label }) => label);
  return [...new Set([...named, ...labelled])];
}

class Marks {
  #summary: SummaryRow[] = $state.raw([]);
  /** Classes that were named in this browser, by task. */
  #named: Record<string, string[]> = $state.raw(keptRecord("localStorage", CLASSES_KEY));
  #own: ReadonlyMap<string, string> = $state.raw(new Map());
  #chosen: string | null = $state(null);
  #steps = this.#newSteps();
  #refusals = 0;
  #loaded = "";
  #summaries = new Newest();
  #readings = new Newest();
  /** Tasks that have had their first label here, and are not in the summary yet. */
  #begun = new Set<string>();

  status: "none" | "loading" | "ready" | "failed" = $state("none");
  /** Why labels could not be read. */
  error: Error | null = $state.raw(null);
  /** Why the last step was taken back. */
  problem: Error | null = $state.raw(null);
  notes: string[] = $state.raw([]);
  /** Steps that are not saved yet. */
  waiting: number = $state(0);
  canUndo: boolean = $state(false);
  canRedo: boolean = $state(false);
  history: ChangeRow[] = $state.raw([]);
  /** Counts what the service has saved: whoever shows labels of others, or is reading labels, reads them again. */
  saved: number = $state(0);
  /** Counts how often one came back to the page: others may have labelled meanwhile. */
  visits: number = $state(0);

  // -- the task -----------------------------------------------------------------------------

  get tasks(): string[] {
    return [...new Set([...this.#summary.map(({ task }) => task), ...Object.keys(this.#named)])].sort();
  }

  /** The task that marks are of: of the link, else the only one. */
  get task(): string | null {
    return place.query.task || (this.tasks.length === 1 ? this.tasks[0]! : null);
  }

  get classes(): ClassLook[] {
    const task = this.task ?? "";
    return classLooks(
      classOrder(
        this.#named[task] ?? [],
        this.#summary.filter((row) => row.task === task),
      ),
    );
  }

  /** Classes that have labels, of all tasks. */
  get labelled(): { task: string; label: string }[] {
    const named = this.#summary.filter(({ label }) => label !== null);
    return [...new Map(named.map(({ task, label }) => [JSON.stringify([task, label]), { task, label }])).values()];
  }

  /** Whether the service knows a task: it does once a label of it was saved. */
  isStored(task: string): boolean {
    return this.#begun.has(task) || this.#summary.some((row) => row.task === task);
  }

  lookOf(label: string): ClassLook | null {
    return this.classes.find((each) => each.label === label) ?? null;
  }

  /** The looks of the classes of a head: those of the task that is taught, where it has them all. */
  looksOf(labels: readonly string[]): ClassLook[] {
    const known = labels.map((label) => this.lookOf(label)).filter((look) => look !== null);
    return known.length === labels.length ? known : classLooks(labels);
  }

  /** The class that is painted with. */
  get current(): ClassLook | null {
    return this.classes.find(({ label }) => label === this.#chosen) ?? this.classes[0] ?? null;
  }

  choose(label: string): void {
    this.#chosen = label;
  }

  openTask(task: string): void {
    place.set({ task });
  }

  /** Add a class, also of a task that does not exist yet. Those that are there keep their places. */
  addClass(task: string, label: string): void {
    const named = task === this.task ? this.classes.map((look) => look.label) : (this.#named[task] ?? []);
    if (!named.includes(label)) this.#named = { ...this.#named, [task]: [...named, label] };
    keep("localStorage", CLASSES_KEY, JSON.stringify(this.#named));
    this.#chosen = label;
  }

  /** Take a class away that has no labels; of a task without labels, the last one takes the task with it. */
  removeClass(label: string): void {
    const task = this.task;
    if (task === null || this.total(label) > 0) return;
    const left = this.classes.map((look) => look.label).filter((each) => each !== label);
    const { [task]: _, ...others } = this.#named;
    this.#named = left.length ? { ...others, [task]: left } : others;
    keep("localStorage", CLASSES_KEY, JSON.stringify(this.#named));
    if (left.length === 0) place.set({ task: "" });
  }

  /** Labels of a class: one's own marks as they are drawn, and those of others. */
  count(label: string): { own: number; others: number } {
    const me = store.facts?.caller;
    let own = 0;
    for (const each of this.#own.values()) if (each === label) own += 1;
    const others = this.#summary
      .filter((row) => row.task === this.task && row.label === label && !(row.author === me && row.kind === "tile"))
      .reduce((sum, row) => sum + row.labels, 0);
    return { own, others };
  }

  total(label: string): number {
    const { own, others } = this.count(label);
    return own + others;
  }

  /** One's own marks on a slide, with their looks. */
  squares(slide: string): { x: number; y: number; edge: number; look: ClassLook }[] {
    const looks = new Map(this.classes.map((look) => [look.label, look]));
    return [...this.#own].flatMap(([key, label]) => {
      const [of, place = ""] = key.split("\n");
      const [x, y, edge] = place.split(" ").map(Number);
      const look = looks.get(label);
      return of === slide && edge && look ? [{ x: x!, y: y!, edge, look }] : [];
    });
  }

  // -- marking ------------------------------------------------------------------------------

  /** Why nothing can be marked here; null where it can. */
  get refusal(): string | null {
    if (!store.may("label")) return "Your token may look and search. Marking needs the role “label”.";
    if (!this.task) return "Choose a task first, or make one.";
    if (this.classes.length === 0) return "Add a class first.";
    return null;
  }

  /** What one has marked a tile as oneself. */
  labelOf(tile: TilePlace): string | null {
    return this.#own.get(placeKey(tile)) ?? null;
  }

  /** The same with its look, as strips show it. */
  markOf(tile: TilePlace): ClassLook | null {
    const label = this.labelOf(tile);
    return label === null ? null : this.lookOf(label);
  }

  /** Mark tiles of the chosen collection; null takes the marks away. It is one step, which `undo` takes back. */
  mark(tiles: readonly MarkTile[], label: string | null): void {
    if (this.refusal === null) void this.#steps.mark(tiles, label);
  }

  /** Keys that mark the chosen tiles of a strip or of the map. */
  get stripKeys(): { key: string; does: string; act: (tiles: readonly MarkTile[]) => void }[] {
    if (this.refusal !== null) return [];
    return [
      ...this.classes
        .filter(({ key }) => key)
        .map(({ key, label }) => ({
          key,
          does: `Mark as ${label}`,
          act: (tiles: readonly MarkTile[]) => this.mark(tiles, label),
        })),
      { key: "0", does: "Take the mark away", act: (tiles: readonly MarkTile[]) => this.mark(tiles, null) },
    ];
  }

  /** Until all marks are saved, or taken back. */
  get settled(): Promise<void> {
    return this.#steps.settled;
  }

  /** Undo the last step made here; else one's last change that the service knows of. */
  undo(): void {
    if (!this.#steps.undo() && this.task) void this.undoChange(null);
  }

  redo(): void {
    this.#steps.redo();
  }

  async undoChange(change: string | null): Promise<void> {
    await this.#steps.undoChange(change);
    await this.load();
  }

  // -- reading ------------------------------------------------------------------------------

  /** Read tasks, classes and one's own marks again. */
  async load(): Promise<void> {
    const [task, author] = [this.task, store.facts?.caller];
    const asked = JSON.stringify([task, author, store.collection?.name]);
    if (asked !== this.#loaded) {
      this.#loaded = asked;
      this.#steps = this.#newSteps();
      this.#own = new Map();
      this.history = [];
      this.status = "loading";
      this.#show();
    }
    try {
      await this.#readSummary();
      if (this.task !== task) return void this.load(); // the only task is the one that is meant
      const known = task !== null && this.isStored(task);
      const { saved } = this;
      await this.#readings.read<[LabelRow[], ChangeRow[]]>(
        async () => (known ? Promise.all([labelsOf(task, { author }), historyOf(task)]) : [[], []]),
        ([own, history]) => {
          if (asked !== this.#loaded) return;
          if (saved !== this.saved) return void this.load(); // what was read may lack what was saved meanwhile
          const marks = own.filter(({ kind }) => kind === "tile").map((row) => [placeKey(row), row.label] as const);
          this.#steps.begin(new Map(marks));
          this.history = history.reverse();
          this.status = "ready";
          this.error = null;
        },
      );
    } catch (error) {
      if (asked !== this.#loaded) return;
      this.error = error as Error;
      if (this.status === "loading") this.status = "failed";
    }
  }

  #readSummary(): Promise<void> {
    return this.#summaries.read(
      () => body(client.GET("/api/labels")),
      ({ rows }) => (this.#summary = rows as unknown as SummaryRow[]),
    );
  }

  #newSteps(): MarkSteps {
    const at = { task: untrack(() => this.task) ?? "", collection: untrack(() => store.collection?.name) };
    const path = { params: { path: { task: at.task } } };
    const send = async (made: Promise<Change>): Promise<Change> => {
      const change = await made;
      this.#begun.add(at.task);
      this.saved += 1;
      return change;
    };
    return new MarkSteps(
      {
        add: (label, tiles) => {
          const labels = tiles.map(({ tile_id }) => ({ label, tile_id }));
          const given = { labels, collection: at.collection };
          return send(body(client.POST("/api/labels/{task}/add", { ...path, body: given })));
        },
        withdraw: (tiles) => {
          const places = tiles.map(({ tile_id }) => ({ tile_id }));
          const given = { keys: [], places, collection: at.collection };
          return send(body(client.POST("/api/labels/{task}/withdraw", { ...path, body: given })));
        },
        undo: (change) => send(body(client.POST("/api/labels/{task}/undo", { ...path, body: { change } }))),
        isRefusal: (error) => error instanceof ServiceError && REFUSED.includes(error.status),
      },
      () => this.#show(),
    );
  }

  #show(): void {
    this.#own = this.#steps.marks;
    const settled = this.waiting > 0 && this.#steps.waiting === 0;
    this.waiting = this.#steps.waiting;
    if (settled) void this.#follow();
    this.canUndo = this.#steps.canUndo;
    this.canRedo = this.#steps.canRedo;
    this.problem = this.#steps.problem;
    this.notes = this.#steps.notes;
    const { refusals } = this.#steps;
    const isRefused = refusals > this.#refusals;
    this.#refusals = refusals;
    if (isRefused) void this.load();
  }

  /** After steps were saved: what the service counts by now. */
  async #follow(): Promise<void> {
    const task = this.task;
    if (task === null) return;
    try {
      const [, history] = await Promise.all([this.#readSummary(), historyOf(task)]);
      if (task !== this.task) return;
      this.history = history.reverse();
    } catch {
      // it is read again when the service is back
    }
  }
}

/** Labels of a task that stand; none of a task that has none. */
export async function labelsOf(task: string, query: { author?: string; slide_id?: string }): Promise<LabelRow[]> {
  if (!marks.isStored(task)) return [];
  try {
    const rows: LabelRow[] = [];
    for (;;) {
      const asked = { ...query, offset: rows.length };
      const answer = await body(client.GET("/api/labels/{task}", { params: { path: { task }, query: asked } }));
      rows.push(...(answer.rows as unknown as LabelRow[]));
      if (rows.length >= answer.total || answer.rows.length === 0) return rows;
    }
  } catch (error) {
    if (error instanceof ServiceError && error.status === 404) return [];
    throw error;
  }
}

async function historyOf(task: string): Promise<ChangeRow[]> {
  const answer = await body(client.GET("/api/labels/{task}/history", { params: { path: { task } } }));
  return answer.rows as unknown as ChangeRow[];
}

export const marks = new Marks();

// Whoever shows marks has them read: again with another task, caller or collection, and when the service is back.
if (globalThis.document) {
  const when = () => marks.task !== null && store.may("label");
  keys.register([
    { key: "Ctrl+z", does: "Undo your last marks", group: "Teach", when, act: () => marks.undo() },
    { key: "Ctrl+Z", does: "Redo them", group: "Teach", when, act: () => marks.redo() },
  ]);
  $effect.root(() => {
    $effect(() => {
      void [place.query.task, connection.returned, store.collection?.name];
      if (store.facts) untrack(() => void marks.load());
    });
  });
  document.addEventListener("visibilitychange", () => {
    if (document.hidden || !store.facts) return;
    marks.visits += 1;
    void marks.load();
  });
}
