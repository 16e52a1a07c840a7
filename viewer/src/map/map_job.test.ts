import { expect, test, vi } from "vitest";

import { client } from "../api/client";
import { followJob, type Job } from "../state/job_events";
import { mapJob } from "./map_job.svelte";

vi.mock("../api/client", () => ({ client: { GET: vi.fn(), POST: vi.fn() }, body: async (answer: unknown) => answer }));
vi.mock("../state/job_events", async (original) => ({ ...(await original<object>()), followJob: vi.fn() }));

const jobOf = (collection: string, state: string) =>
  ({ id: collection, state, params: { collection } }) as unknown as Job;

test("a map that is being made is taken up, and the one of another collection is let go", async () => {
  const told: ((job: Job) => void)[] = [];
  const signals: AbortSignal[] = [];
  vi.mocked(followJob).mockImplementation((_, tell, signal) => {
    told.push(tell);
    signals.push(signal);
    return new Promise((resolve) => signal.addEventListener("abort", () => resolve()));
  });
  vi.mocked(client.GET).mockResolvedValue([jobOf("a", "running"), jobOf("b", "queued")] as never);
  void mapJob.takeUp("b");
  await vi.waitFor(() => expect(mapJob.isRunning).toBe(true));
  expect([mapJob.collection, mapJob.job!.id]).toEqual(["b", "b"]);
  void mapJob.takeUp("c");
  await vi.waitFor(() => expect(mapJob.isRunning).toBe(false));
  expect(signals[0]!.aborted).toBe(true);
  expect(mapJob.error).toBe(null);
});

test("a job that cannot be followed any more holds up no other", async () => {
  vi.mocked(followJob).mockReset().mockRejectedValue(new Error("no such job"));
  vi.mocked(client.POST).mockResolvedValue(jobOf("a", "queued") as never);
  await mapJob.start("a");
  expect([mapJob.isRunning, mapJob.error?.message]).toEqual([false, "no such job"]);
});
