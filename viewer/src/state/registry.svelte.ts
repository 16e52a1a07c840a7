/** What components add for as long as they live: keys, layers. */

export class Registry<T> {
  /** No state: while effects are torn down, a state reads as it was before them, and what others added would be lost. */
  #all: readonly T[] = [];
  #shown: readonly T[] = $state.raw([]);

  get all(): readonly T[] {
    return this.#shown;
  }

  /** Add until what is returned is called: `$effect(() => registry.add(…))`. */
  add(...added: T[]): () => void {
    this.#set([...this.#all, ...added]);
    return () => this.#set(this.#all.filter((each) => !added.includes(each)));
  }

  #set(all: readonly T[]): void {
    this.#shown = this.#all = all;
  }
}
