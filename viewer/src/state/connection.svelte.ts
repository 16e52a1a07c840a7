/** Whether the service answers, and the token that this page sends. */

import { keep, kept } from "./kept";

const KEY = "embedstore-token";
const RETRY_MS = 2000;

class Connection {
  /** For this tab only: a token is gone when the tab is closed. */
  token = $state(kept("sessionStorage", KEY) ?? "");
  online = $state(true);
  /** The service wants a token, or another one. */
  needsToken = $state(false);
  /** A proxy before the service wants a login, as the last one has ended. */
  loggedOut = $state(false);
  /** Counts how often the service came back: whoever shows its answers asks again. */
  returned = $state(0);
  #timer: ReturnType<typeof setTimeout> | undefined;
  #check: Promise<void> | null = null;

  /** Send another token from now on; `accepted` tells that the service takes it. */
  use(token: string): void {
    this.token = token.trim();
    keep("sessionStorage", KEY, this.token);
  }

  accepted(): void {
    this.needsToken = false;
  }

  /** @param token What was sent: a late answer to another token says nothing of the one that is used now. */
  answered(status: number, token: string): void {
    if (status === 401 && token === this.token) this.needsToken = true;
    this.loggedOut = false;
    if (!this.online) {
      this.online = true;
      this.returned += 1;
    }
  }

  lost(): void {
    this.online = false;
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      void this.#tryAgain();
    }, RETRY_MS);
  }

  /** Something that is no request of `client`, such as a picture, failed: find out whether the service answers at all. */
  check(): void {
    if (this.online) this.#check ??= this.#tryAgain().finally(() => (this.#check = null));
  }

  async #tryAgain(): Promise<void> {
    try {
      const answer = await fetch("/ready", { redirect: "manual" });
      if (await wantsLogin(answer)) this.loggedOut = true;
      else this.answered(answer.status, "");
    } catch {
      this.lost();
    }
  }
}

/** Whether a proxy answered, and wants a login: it leads elsewhere, or its 401 is none of the service's. */
export async function wantsLogin(answer: Response): Promise<boolean> {
  if (answer.type === "opaqueredirect") return true;
  if (answer.status !== 401) return false;
  const said = await answer
    .clone()
    .json()
    .catch(() => null);
  return said?.error === undefined;
}

export const connection = new Connection();
