/** Light or dark: as the system says, until the user chooses. */

const KEY = "embedstore-theme";
export type Theme = "system" | "light" | "dark";

class ThemeState {
  chosen: Theme = $state((globalThis.localStorage?.getItem(KEY) as Theme | null) ?? "system");

  constructor() {
    this.#show();
  }

  choose(theme: Theme): void {
    this.chosen = theme;
    localStorage.setItem(KEY, theme);
    this.#show();
  }

  #show(): void {
    if (globalThis.document) document.documentElement.dataset.theme = this.chosen;
  }
}

export const theme = new ThemeState();
