/** What the browser keeps for the page. Some keep nothing, by a rule of the house or in private windows, or are full. */

type Area = "localStorage" | "sessionStorage";

export function kept(area: Area, key: string): string | null {
  try {
    return globalThis[area]?.getItem(key) ?? null;
  } catch {
    return null;
  }
}

/** Keep a text; where that cannot be, it holds until the page is closed. */
export function keep(area: Area, key: string, text: string): void {
  try {
    globalThis[area]?.setItem(key, text);
  } catch {
    // as it is said above
  }
}

/** What was kept as JSON; nothing where it is none any more. */
export function keptRecord<T>(area: Area, key: string): Record<string, T> {
  try {
    const found: unknown = JSON.parse(kept(area, key) ?? "{}");
    return typeof found === "object" && found !== null ? (found as Record<string, T>) : {};
  } catch {
    return {};
  }
}
