import { expect, test } from "vitest";

import { eventsOf } from "./job_events";

async function* chunksOf(text: string, size: number): AsyncGenerator<string> {
  for (let at = 0; at < text.length; at += size) yield text.slice(at, at + size);
}

test.each([1, 7, 1000])("events are read from chunks of %i characters", async (size) => {
  const text =
    'event: job\r\ndata: {"a": 1}\r\nid: m-1\r\n\r\n: ping\n\nevent: job\ndata: two\ndata: lines\nid: m-2\n\nda';
  // a line end may be cut between chunks, which is not the case for what the service sends: \n alone
  const found = [];
  for await (const event of eventsOf(chunksOf(text.replaceAll("\r", ""), size))) found.push(event);
  expect(found).toEqual([
    { id: "m-1", data: '{"a": 1}' },
    { id: "m-2", data: "two\nlines" },
  ]);
});
