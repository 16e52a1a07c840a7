/** The job that makes the map of the collection, or places new slides into it. */
import { body, client, type Schemas } from "../api/client";
import { followJob, hasEnded, type Job } from "../state/job_events";

type Settings = Partial<Omit<Schemas["MapBody"], "rebuild">>;

class MapJob {
  /** The last one of `collection` that this page knows of, as it is now. */
  job: Job | null = $state.raw(null);
  /** Why it was refused or failed. */
  error: Error | null = $state.raw(null);
  /** Counts maps that were made: whoever shows one reads it again. */
  revision: number = $state(0);
  collection: string = $state("");
  #stop = new AbortController();
  #isAsked = false;

  get isRunning(): boolean {
    return this.job !== null && !hasEnded(this.job);
  }

  /** Begin the job; `again` has the settings of the map that is to be made anew. */
  async start(collection: string, again: Settings | null = null): Promise<void> {
    if (this.isRunning && collection === this.collection) return;
    this.#isAsked = true;
    await this.#follow(collection, async () => {
      const asked = { params: { path: { collection } }, body: { rebuild: again !== null, ...again } };
      try {
        return await body(client.POST("/api/collections/{collection}/map", asked));
      } finally {
        this.#isAsked = false;
      }
    });
  }

  /** Follow a job that was begun before this page was opened, or by somebody else. */
  async takeUp(collection: string): Promise<void> {
    if ((this.isRunning || this.#isAsked) && collection === this.collection) return;
    await this.#follow(collection, async () => {
      const query = { kind: "map", state: ["queued" as const, "running" as const] };
      const jobs = await body(client.GET("/api/jobs", { params: { query } })).catch(() => []);
      return jobs.find(({ params }) => params.collection === collection) ?? null;
    });
  }

  async #follow(collection: string, begin: () => Promise<Job | null>): Promise<void> {
    this.#stop.abort();
    const { signal } = (this.#stop = new AbortController());
    [this.collection, this.job, this.error] = [collection, null, null];
    try {
      const begun = await begin();
      if (signal.aborted || begun === null) return;
      this.job = begun;
      await followJob(begun.id, (job) => (this.job = job), signal);
      if (signal.aborted) return;
      if (this.job.state !== "done")
        this.error = new Error(this.job.error?.message ?? this.job.message ?? "The map was not made.");
      this.revision += 1;
    } catch (error) {
      // nobody knows what becomes of it: it holds up no other
      if (!signal.aborted) [this.job, this.error] = [null, error as Error];
    }
  }

  async cancel(): Promise<void> {
    if (!this.job) return;
    try {
      await body(client.POST("/api/jobs/{job_id}/cancel", { params: { path: { job_id: this.job.id } } }));
    } catch (error) {
      this.error = error as Error;
    }
  }
}

export const mapJob = new MapJob();
