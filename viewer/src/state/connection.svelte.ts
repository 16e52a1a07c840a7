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
      this.answered((await fetch("/ready")).status, "");
    } catch {
      this.lost();
    }
  }
}

export const connection = new Connection();
