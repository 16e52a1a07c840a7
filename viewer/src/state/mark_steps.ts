/** The marks of one author on tiles: drawn at once, sent one step after the other, taken back where that fails. */

/** A tile, or the place of a label of one; level-0 pixels. */
export interface TilePlace {
  slide_id: string;
  x: number;
  y: number;
  /** 0 of a ready-made tile, which has a name. */
  edge_l0: number;
  name?: string | null;
}

export interface MarkTile extends TilePlace {
  tile_id: string;
}

/** What the service says of a change. */
export interface Change {
  /** Null where there was nothing to change. */
  change: string | null;
  notes: string[];
}

/** How steps are sent. */
export interface Sender {
  add(label: string, tiles: readonly MarkTile[]): Promise<Change>;
  withdraw(tiles: readonly MarkTile[]): Promise<Change>;
  /** The author's last change where none is named. */
  undo(change: string | null): Promise<Change>;
  /** Whether the service refused, and would refuse again. */
  isRefusal(error: Error): boolean;
}

interface Step {
  tiles: readonly MarkTile[];
  /** What the tiles were marked as, and what they are now. */
  before: (string | null)[];
  after: string | null;
  /** Id of the change; null until it is saved. */
  change: string | null;
  /** Requests that save it, undo it or do it again and have no answer yet: the service may know of them or not. */
  open: number;
}

export const placeKey = ({ slide_id, x, y, edge_l0, name }: TilePlace): string =>
  edge_l0 ? `${slide_id}\n${x} ${y} ${edge_l0}` : `${slide_id}\n${name ?? ""}`;

/** Marks by place, and the steps that lead to them.
 *
 * `onchange` is called after each change of `marks`, `waiting` or what can be undone.
 */
export class MarkSteps {
  marks = new Map<string, string>();
  /** Steps that are not saved yet. */
  waiting = 0;
  /** Steps that the service refused: what is stored is another than is shown here, and has to be read again. */
  refusals = 0;
  /** Why the last step was taken back, or what the service remarked. */
  problem: Error | null = null;
  notes: string[] = [];
  #done: Step[] = [];
  #undone: Step[] = [];
  #last: Promise<void> = Promise.resolve();

  constructor(
    readonly sender: Sender,
    readonly onchange: () => void = () => {},
  ) {}

  /** Until all steps are saved, or taken back. */
  get settled(): Promise<void> {
    return this.#last;
  }
  get canUndo(): boolean {
    return this.#done.length > 0;
  }
  get canRedo(): boolean {
    return this.#undone.length > 0;
  }

  markOf(tile: TilePlace): string | null {
    return this.marks.get(placeKey(tile)) ?? null;
  }

  /** Begin with what is stored; steps that are not saved yet stay on top of it. */
  begin(stored: Map<string, string>): void {
    this.marks = stored;
    for (const step of this.#done.filter(({ open }) => open > 0)) this.#show(step.tiles, () => step.after);
    for (const step of this.#undone.filter(({ open }) => open > 0).toReversed()) this.#back(step);
    this.onchange();
  }

  /** Mark tiles, or take their marks away; those that are marked so already are left out. */
  mark(tiles: readonly MarkTile[], label: string | null): Promise<void> {
    const others = [...new Map(tiles.map((tile) => [placeKey(tile), tile])).values()].filter(
      (tile) => this.markOf(tile) !== label,
    );
    if (others.length === 0) return this.#last;
    const before = others.map((tile) => this.markOf(tile));
    const step: Step = { tiles: others, before, after: label, change: null, open: 0 };
    this.#done.push(step);
    this.#undone = [];
    this.#show(others, () => label);
    return this.#send(
      step,
      async () => {
        const change = label === null ? await this.sender.withdraw(others) : await this.sender.add(label, others);
        step.change = change.change;
        this.notes = change.notes;
      },
      () => {
        this.#done = this.#done.filter((each) => each !== step);
        this.#undone = this.#undone.filter((each) => each !== step);
        this.#back(step);
        this.#forget(step);
      },
    );
  }

  /** Undo the last step; returns whether there was one here: there may be older changes at the service. */
  undo(): boolean {
    const step = this.#done.pop();
    if (!step) return false;
    this.#undone.push(step);
    this.#back(step);
    void this.#send(
      step,
      async () => {
        if (step.change !== null) step.change = (await this.sender.undo(step.change)).change;
      },
      (error) => {
        this.#undone = this.#undone.filter((each) => each !== step);
        if (step.change === null) return; // it was never saved
        if (this.sender.isRefusal(error)) return; // it was undone elsewhere
        this.#done.push(step);
        this.#show(step.tiles, () => step.after);
      },
    );
    return true;
  }

  /** Do again what was undone last. */
  redo(): void {
    const step = this.#undone.pop();
    if (!step) return;
    this.#done.push(step);
    this.#show(step.tiles, () => step.after);
    void this.#send(
      step,
      async () => {
        if (step.change !== null) step.change = (await this.sender.undo(step.change)).change;
      },
      (error) => {
        this.#done = this.#done.filter((each) => each !== step);
        if (!this.sender.isRefusal(error)) this.#undone.push(step);
        this.#back(step);
      },
    );
  }

  /** Undo a change of the service by its id, or the author's last one; what is stored has to be read again. */
  undoChange(change: string | null): Promise<void> {
    this.#done = this.#done.filter((step) => step.change !== change);
    return this.#send(
      null,
      async () => void (await this.sender.undo(change)),
      () => {},
    );
  }

  /** Steps are sent one after the other, so that each is made of what the one before left. */
  #send(step: Step | null, send: () => Promise<void>, takeBack: (error: Error) => void): Promise<void> {
    this.waiting += 1;
    this.problem = null;
    if (step) step.open += 1;
    this.#last = this.#last.then(async () => {
      try {
        await send();
      } catch (error) {
        this.problem = error as Error;
        takeBack(this.problem);
        if (this.sender.isRefusal(this.problem)) this.refusals += 1;
      }
      this.waiting -= 1;
      if (step) step.open -= 1;
      this.onchange();
    });
    this.onchange();
    return this.#last;
  }

  #show(tiles: readonly MarkTile[], labelOf: (i: number) => string | null): void {
    const marks = new Map(this.marks);
    tiles.forEach((tile, i) => {
      const label = labelOf(i);
      if (label === null) marks.delete(placeKey(tile));
      else marks.set(placeKey(tile), label);
    });
    this.marks = marks;
  }

  /** What the step's tiles were before, but for those that a later step has marked otherwise. */
  #back(step: Step): void {
    const still = step.tiles.flatMap((tile, i) => (this.markOf(tile) === step.after ? [i] : []));
    this.#show(
      still.map((i) => step.tiles[i]!),
      (i) => step.before[still[i]!]!,
    );
  }

  /** Later steps were made of one that never was: before them was what was before it. */
  #forget(step: Step): void {
    const was = new Map(step.tiles.map((tile, i) => [placeKey(tile), step.before[i]!]));
    for (const later of this.#done) {
      later.before = later.before.map((label, i) => {
        const key = placeKey(later.tiles[i]!);
        return was.has(key) && label === step.after ? was.get(key)! : label;
      });
    }
  }
}
