/** Saves what the service answers, or the page has made, as a file of the browser's user. */
import { request } from "./client";

/** Fetch a route and save it under the name that it gives, or else under `name`. */
export async function saveAnswer(url: string, name: string): Promise<void> {
  const answer = await request(url);
  const named = /filename="([^"]+)"/.exec(answer.headers.get("Content-Disposition") ?? "")?.[1];
  saveBlob(await answer.blob(), named ?? name);
}

export function saveBlob(blob: Blob, name: string): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
