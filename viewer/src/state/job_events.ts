/** Follows a job of the service by its server-sent events. `EventSource` cannot send a token. */
import { address, request, ServiceError, type Schemas } from "../api/client";

export type Job = Schemas["JobAnswer"];

export const hasEnded = ({ state }: Job): boolean => state !== "queued" && state !== "running";

/** Time until it is tried again, where the connection is lost. */
const AGAIN_MS = 1000;

export interface ServerEvent {
  id: string;
  data: string;
}

/** The events of a stream; a comment, or one without data, is none. */
export async function* eventsOf(chunks: AsyncIterable<string>): AsyncGenerator<ServerEvent> {
  let rest = "";
  for await (const chunk of chunks) {
    const blocks = (rest + chunk).replaceAll("\r\n", "\n").split("\n\n");
    rest = blocks.pop()!;
    for (const block of blocks) {
      const field = (name: string) =>
        block
          .split("\n")
          .filter((line) => line.startsWith(`${name}:`))
          .map((line) => line.slice(name.length + 1).replace(/^ /, ""))
          .join("\n");
      const data = field("data");
      if (data) yield { id: field("id"), data };
    }
  }
}

async function* textOf(stream: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  const reader = stream.pipeThrough(new TextDecoderStream() as ReadableWritablePair<string, Uint8Array>).getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      yield value;
    }
  } finally {
    void reader.cancel().catch(() => {});
  }
}

/** Call `tell` with a job at each change until it has ended; a connection that is lost is taken up again. */
export async function followJob(id: string, tell: (job: Job) => void, signal: AbortSignal): Promise<void> {
  let last = "";
  while (!signal.aborted) {
    try {
      const headers: HeadersInit = last ? { "Last-Event-ID": last } : {};
      const answer = await request(address`/api/jobs/${id}/events`, { headers, signal });
      for await (const event of eventsOf(textOf(answer.body!))) {
        last = event.id;
        const job = JSON.parse(event.data) as Job;
        tell(job);
        if (hasEnded(job)) return;
      }
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof ServiceError) throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
  }
}
