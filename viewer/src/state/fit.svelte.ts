/** The head that the marks of a task teach: fitted in a job, with its heat maps over all slides. */
import { untrack } from "svelte";

import { body, client, OfflineError, type Schemas } from "../api/client";
import { openSlide } from "../viewer/open_slide.svelte";
import { connection } from "./connection.svelte";
import { heads, type Head } from "./heads.svelte";
import { followJob, hasEnded, type Job } from "./job_events";
import { marks } from "./marks.svelte";
import { Newest } from "./newest";
import { place } from "./place.svelte";
import { store } from "./store.svelte";

export type Card = Schemas["CardAnswer"];

/** Names that people give to what they do not look for. */
const NEGATIVE = /^(no|none|non|not|normal|other|others|background|benign|negative|healthy|rest|stroma)\b/i;

/**
 * The name of the page's own head of a task in a collection, which each fit replaces; heads of the command line have
 * other names. Where a head of another task or collection has it, a number follows.
 */
export function headName(
  task: string,
  collection: string | undefined,
  heads: readonly Pick<Head, "name" | "task" | "collection">[],
): string {
  const letters = task.replace(/[^A-Za-z0-9._-]/g, "-").replace(/^[._-]+/, "");
  const first = `${letters.slice(0, 90) || "task"}-marks`;
  const isOther = (name: string) =>
    heads.some((head) => head.name === name && (head.task !== task || head.collection !== collection));
  let name = first;
  for (let turn = 2; isOther(name); turn += 1) name = `${first}-${turn}`;
  return name;
}

/** Of two classes, the one that the heat map is of: not the one that is named as a negative. */
export function positiveOf(labels: readonly string[]): string | null {
  if (labels.length !== 2) return null;
  const sought = labels.filter((label) => !NEGATIVE.test(label));
  return sought.length === 1 ? sought[0]! : labels[1]!;
}

/** Marks of a class from which on some are left to test on, some to validate on and some to train on. */
const LEAST_MARKS = 3;

/** What is missing before a head can be fitted; others may have labelled areas, which are many tiles each. */
export function fewMarks(classes: readonly { label: string; own: number; others: number }[]): string | null {
  const labelled = classes.filter(({ own, others }) => own + others > 0);
  if (labelled.length < 2) return "Mark tiles of at least two classes.";
  const few = labelled.filter(({ own, others }) => others === 0 && own < LEAST_MARKS);
  const counts = few.map(({ label, own }) => `${label} has ${own}`).join(", ");
  return few.length ? `Mark at least ${LEAST_MARKS} tiles of each class: ${counts}.` : null;
}

class Fit {
  /** The last fit of this page, as it is now. */
  job: Job | null = $state.raw(null);
  card: Card | null = $state.raw(null);
  /** Why the fit was refused or failed. */
  error: Error | null = $state.raw(null);
  #isAsked: boolean = $state(false);
  #stop: AbortController | null = null;
  /** The task and the collection that `card` is of. */
  #of = "";
  #cards = new Newest();

  get head(): string | null {
    return marks.task === null ? null : headName(marks.task, store.collection?.name, heads.all ?? []);
  }
  /** A fit is asked for, waits or runs. */
  get isBusy(): boolean {
    return this.#isAsked || this.isRunning;
  }
  get isRunning(): boolean {
    return this.job !== null && !hasEnded(this.job);
  }

  /** Why nothing can be fitted; null where it can. */
  get refusal(): string | null {
    if (!store.may("fit")) return "Your token may not fit. Fitting needs the role “fit”.";
    if (!marks.task) return "Choose a task first, or make one.";
    return fewMarks(marks.classes.map(({ label }) => ({ label, ...marks.count(label) })));
  }

  /** Fit from the marks of everybody, and predict all slides, the open one first. */
  async start(): Promise<void> {
    const task = marks.task;
    if (this.refusal !== null || this.isBusy || task === null) return;
    this.#isAsked = true;
    const labelled = marks.classes.map(({ label }) => label).filter((label) => marks.total(label) > 0);
    const positive = positiveOf(labelled);
    this.error = null;
    try {
      await Promise.all([marks.settled, heads.known()]);
      const head = this.head;
      if (head === null || task !== marks.task) return;
      const job = await body(
        client.POST("/api/heads", {
          body: {
            tasks: [task],
            names: [head],
            collection: store.collection?.name,
            replace: true,
            predict: true,
            slides: openSlide.stage ? [openSlide.stage.slide] : [],
            settings: { split: { group_by: "auto" }, ...(positive ? { positive } : {}) },
          },
        }),
      );
      this.#isAsked = false;
      await this.#follow(job as Job, head);
    } catch (error) {
      this.error = error as Error;
    } finally {
      this.#isAsked = false;
    }
  }

  /** The service is back: what could not be asked of it can be asked now. */
  forgetAway(): void {
    if (this.error instanceof OfflineError) this.error = null;
  }

  async cancel(): Promise<void> {
    if (!this.job) return;
    try {
      await body(client.POST("/api/jobs/{job_id}/cancel", { params: { path: { job_id: this.job.id } } }));
    } catch (error) {
      this.error = error as Error;
    }
  }

  /** Follow a fit that was begun before this page was opened. */
  async #takeUp(head: string): Promise<void> {
    const query = { kind: "fit", state: ["queued" as const, "running" as const] };
    const jobs = (await body(client.GET("/api/jobs", { params: { query } }))) as Job[];
    const running = jobs.find((job) => (job.params.names as string[] | undefined)?.includes(head));
    if (running && !this.isRunning && head === this.head) await this.#follow(running, head);
  }

  async #follow(begun: Job, head: string): Promise<void> {
    this.#stop?.abort();
    const stop = (this.#stop = new AbortController());
    this.job = begun;
    let shown = false;
    try {
      await followJob(
        begun.id,
        (job) => {
          const stage = job.progress?.stage;
          // once all slides are being predicted, the open one is there
          if (!shown && job.state === "running" && stage === "predict") {
            shown = true;
            this.#show(head);
          }
          this.job = job;
        },
        stop.signal,
      );
    } catch (error) {
      this.job = null; // nobody knows what becomes of it: it holds up no other
      throw error;
    }
    if (stop.signal.aborted) return;
    if (this.job.state === "failed") this.error = new Error(this.job.error?.message ?? "The fit failed.");
    else if (this.job.state !== "done") this.error = new Error(this.job.message ?? "The fit was ended.");
    else this.#show(head);
    await this.loadCard();
  }

  /** Have the new heat map shown. */
  #show(head: string): void {
    void heads.load(); // whoever shows its heat maps fetches them again
    if (this.head === head) place.set({ head });
  }

  /** The card of the task's head, where it has been fitted. */
  async loadCard(): Promise<void> {
    const of = JSON.stringify([marks.task, store.collection?.name]);
    if (of !== this.#of) {
      this.#of = of;
      this.card = null;
      this.error = null;
      if (!this.isRunning) this.job = null;
    }
    const all = await heads.known();
    const head = this.head;
    if (head === null) return;
    if (!this.isRunning) this.#takeUp(head).catch(() => {}); // asked again once the service is back
    if (!all.some(({ name }) => name === head)) return;
    await this.#cards.read(
      () => body(client.GET("/api/heads/{head}", { params: { path: { head } } })),
      (card) => {
        if (head === this.head) this.card = card as Card;
      },
    );
  }
}

export const fit = new Fit();

if (globalThis.document) {
  $effect.root(() => {
    $effect(() => {
      void connection.returned;
      untrack(() => fit.forgetAway());
    });
    $effect(() => {
      void [connection.returned, heads.revision, store.collection?.name];
      if (store.facts && marks.task) untrack(() => void fit.loadCard().catch(() => {}));
    });
  });
}
