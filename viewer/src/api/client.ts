/** The service's routes, with the types of its OpenAPI document (`schema.d.ts`, made by `make viewer-client`). */
import createClient from "openapi-fetch";
import { untrack } from "svelte";

import { connection, wantsLogin } from "../state/connection.svelte";
import type { components, paths } from "./schema";

export type Schemas = components["schemas"];

/** What the service refused, with its own sentence. */
export class ServiceError extends Error {
  constructor(
    readonly status: number,
    /** Name of the error in `embedstore.errors`. */
    readonly kind: string,
    message: string,
  ) {
    super(message);
  }
}

/** The service could not be reached. */
export class OfflineError extends Error {
  constructor(
    message = "The service does not answer. Nothing that it had accepted is lost; this page tries again by itself.",
  ) {
    super(message);
  }
}

/** A proxy before the service wants a login. */
export class LoggedOutError extends OfflineError {
  constructor() {
    super("Your login has ended. What was saved is kept; load the page again to log in.");
  }
}

/** A request of this page: with the token, and with failures as `ServiceError` or `OfflineError`. */
export async function request(input: RequestInfo | URL, init?: RequestInit): Promise<Response> {
  const asked = new Request(input, { ...init, redirect: "manual" }); // the service never leads elsewhere, a login does
  const token = untrack(() => connection.token); // whoever asks in an effect does not follow it
  if (token) asked.headers.set("Authorization", `Bearer ${token}`);
  let answer: Response;
  try {
    answer = await fetch(asked);
  } catch (error) {
    if (asked.signal.aborted) throw error;
    connection.lost();
    throw new OfflineError();
  }
  if (await wantsLogin(answer)) {
    connection.loggedOut = true;
    throw new LoggedOutError();
  }
  connection.answered(answer.status, token);
  if (!answer.ok && answer.status !== 304) throw await failure(answer);
  return answer;
}

async function failure(answer: Response): Promise<ServiceError> {
  const body = await answer.json().catch(() => null);
  const told = body?.error ?? {};
  const message = told.message ?? `The service answered with status ${answer.status}.`;
  return new ServiceError(answer.status, told.type ?? "Error", message);
}

/** Typed requests: `await body(client.GET("/api/slides", { params: { query: { limit: 10 } } }))`. */
export const client = createClient<paths>({ baseUrl: globalThis.location?.origin ?? "", fetch: request });

/** The body of an answer of `client`, which throws where there is none. */
export async function body<T>(answer: Promise<{ data?: T }>): Promise<T> {
  return (await answer).data as T;
}

/** The address of a route that is no JSON, such as a picture: each part of the path quoted. */
export function address(parts: TemplateStringsArray, ...values: (string | number)[]): string {
  return parts.reduce((path, part, i) => path + encodeURIComponent(String(values[i - 1])) + part);
}
