/** Keyboard: whoever has a key registers it, and the `?` sheet lists what is registered. */
import { Registry } from "./registry.svelte";

export interface Key {
  /** As `KeyboardEvent.key` names it, with `Ctrl+` (or ⌘) or `Shift+` before it where that is meant. */
  key: string;
  /** What it does, for the sheet. */
  does: string;
  /** Heading in the sheet. */
  group: string;
  act: (event: KeyboardEvent) => void;
  /** Whether it does so now; always where it is left out. The sheet lists it all the same. */
  when?: () => boolean;
}

class Keys {
  #registered = new Registry<Key>();

  /** Register keys for as long as a component lives: `$effect(() => keys.register([...]))`. */
  register(added: Key[]): () => void {
    return this.#registered.add(...added);
  }

  get groups(): Map<string, Key[]> {
    return Map.groupBy(this.#registered.all, ({ group }) => group);
  }

  handle(event: KeyboardEvent): void {
    if (event.defaultPrevented || (isTyping(event) && !(event.ctrlKey || event.metaKey))) return;
    const of = (name: string) => this.#registered.all.findLast(({ key, when }) => key === name && (when?.() ?? true));
    const found = of(nameOf(event)) ?? of(digitOf(event));
    if (found) {
      event.preventDefault();
      found.act(event);
    }
  }
}

/** "Ctrl+z", "Shift+ArrowUp", "?", "1". A letter with Shift is its capital, or the character that it makes. */
export function nameOf(event: Pick<KeyboardEvent, "key" | "ctrlKey" | "metaKey" | "shiftKey">): string {
  const shift = event.shiftKey && event.key.length > 1 ? "Shift+" : "";
  return (event.ctrlKey || event.metaKey ? "Ctrl+" : "") + shift + event.key;
}

/** "Shift+1", whatever character Shift makes of it; "" for other keys. */
function digitOf({ code = "", shiftKey, ctrlKey, metaKey, altKey }: KeyboardEvent): string {
  return shiftKey && !ctrlKey && !metaKey && !altKey && code.startsWith("Digit") ? `Shift+${code.at(-1)}` : "";
}

function isTyping(event: KeyboardEvent): boolean {
  const { target } = event;
  if (!(target instanceof HTMLElement)) return false;
  if (target instanceof HTMLInputElement) return !["checkbox", "radio", "range", "button"].includes(target.type);
  return target instanceof HTMLTextAreaElement || target instanceof HTMLSelectElement || target.isContentEditable;
}

export const keys = new Keys();
