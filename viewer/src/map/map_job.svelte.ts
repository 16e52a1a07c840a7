/** The job that makes the map of the collection, or places new slides into it. */
import { body, client, type Schemas } from "../api/client";
import { followJob, hasEnded, type Job } from "../state/job_events";

type Settings = Partial<Omit<Schemas["MapBody"], "rebuild">>;

class MapJob {
  /** The last one of this page, as it is now. */
  job: Job | null = $state.raw(null);
  /** Why it was refused or failed. */
  error: Error | null = $state.raw(null);
  /** Counts maps that were made: whoever shows one reads it again. */
  revision: number = $state(0);

  get isRunning(): boolean {
    return this.job !== null && !hasEnded(this.job);
  }

  /** Begin the job; `again` has the settings of the map that is to be made anew. */
  async start(collection: string, again: Settings | null = null): Promise<void> {
    if (this.isRunning) return;
    this.error = null;
    try {
      const asked = { params: { path: { collection } }, body: { rebuild: again !== null, ...again } };
      const begun = await body(client.POST("/api/collections/{collection}/map", asked));
      this.job = begun;
      await followJob(begun.id, (job) => (this.job = job), new AbortController().signal);
      if (this.job.state !== "done")
        this.error = new Error(this.job.error?.message ?? this.job.message ?? "The map was not made.");
      this.revision += 1;
    } catch (error) {
      this.error = error as Error;
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
