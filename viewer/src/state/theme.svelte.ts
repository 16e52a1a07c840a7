/** Light or dark: as the system says, until the user chooses. */

import { keep, kept } from "./kept";

const KEY = "embedstore-theme";
export type Theme = "system" | "light" | "dark";

class ThemeState {
  chosen: Theme = $state((kept("localStorage", KEY) as Theme | null) ?? "system");

  constructor() {
    this.#show();
  }

  choose(theme: Theme): void {
    this.chosen = theme;
    keep("localStorage", KEY, theme);
    this.#show();
  }

  #show(): void {
    if (globalThis.document) document.documentElement.dataset.theme = this.chosen;
  }
}

export const theme = new ThemeState();
