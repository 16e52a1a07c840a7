/** Whether the service answers, and the token that this page sends. */

const KEY = "embedstore-token";
const RETRY_MS = 2000;

class Connection {
  /** For this tab only: a token is gone when the tab is closed. */
  token = $state(globalThis.sessionStorage?.getItem(KEY) ?? "");
  online = $state(true);
  /** The service wants a token, or another one. */
  needsToken = $state(false);
  /** Counts how often the service came back: whoever shows its answers asks again. */
  returned = $state(0);
  #timer: ReturnType<typeof setTimeout> | undefined;

  use(token: string): void {
    this.token = token.trim();
    sessionStorage.setItem(KEY, this.token);
    this.needsToken = false;
  }

  forget(): void {
    this.token = "";
    sessionStorage.removeItem(KEY);
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
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.#tryAgain(), RETRY_MS);
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
