import { expect, test } from "vitest";

import { MarkSteps, type Change, type MarkTile } from "./mark_steps";

const tile = (id: number): MarkTile => ({ tile_id: String(id), slide_id: "a.svs", x: 512 * id, y: 0, edge_l0: 512 });
const [A, B, C] = [tile(1), tile(2), tile(3)];

/** A service that answers when it is told to. */
class Sent {
  asked: string[] = [];
  refuses = new Set<string>();
  /** What is refused, and would be again. */
  isFinal = false;
  #count = 0;
  #answer(what: string): Promise<Change> {
    this.asked.push(what);
    if (this.refuses.has(what)) return Promise.reject(new Error(`refused ${what}`));
    return Promise.resolve({ change: `c${++this.#count}`, notes: [] });
  }
  add = (label: string, tiles: readonly MarkTile[]) => this.#answer(`add ${label} ${tiles.map((t) => t.tile_id)}`);
  withdraw = (tiles: readonly MarkTile[]) => this.#answer(`withdraw ${tiles.map((t) => t.tile_id)}`);
  undo = (change: string | null) => this.#answer(`undo ${change}`);
  isRefusal = () => this.isFinal;
}

function begun(): [MarkSteps, Sent, () => Promise<void>] {
  const sent = new Sent();
  const steps = new MarkSteps(sent);
  return [steps, sent, () => steps.settled];
}

test("a mark is shown at once, and sent once; the same again is nothing", async () => {
  const [steps, sent, settled] = begun();
  const saved = steps.mark([A, B, B], "tumour");
  expect([steps.markOf(A), steps.markOf(B), steps.markOf(C)]).toEqual(["tumour", "tumour", null]);
  expect(steps.waiting).toBe(1);
  await saved;
  expect(steps.waiting).toBe(0);
  await steps.mark([A], "tumour");
  await steps.mark([C], null);
  await settled();
  expect(sent.asked).toEqual(["add tumour 1,2"]);
});

test("what the service refuses is taken back, but not what was marked over it", async () => {
  const [steps, sent, settled] = begun();
  sent.refuses.add("add tumour 1,2");
  void steps.mark([A, B], "tumour");
  void steps.mark([B, C], "normal");
  await settled();
  expect([steps.markOf(A), steps.markOf(B), steps.markOf(C)]).toEqual([null, "normal", "normal"]);
  expect(steps.canUndo).toBe(true);
  steps.undo();
  await settled();
  expect(sent.asked.at(-1)).toBe("undo c1");
  expect([steps.markOf(A), steps.markOf(B), steps.canUndo]).toEqual([null, null, false]);
});

test("the sentence of a refusal is kept until the next step", async () => {
  const [steps, sent] = begun();
  sent.refuses.add("withdraw 1");
  await steps.mark([A], "tumour");
  await steps.mark([A], null);
  expect(steps.problem?.message).toBe("refused withdraw 1");
  expect(steps.markOf(A)).toBe("tumour");
  await steps.mark([B], "tumour");
  expect(steps.problem).toBe(null);
});

test("undo and redo go back and forth through the service's own undo", async () => {
  const [steps, sent, settled] = begun();
  void steps.mark([A], "tumour");
  void steps.mark([A], "normal");
  steps.undo();
  expect(steps.markOf(A)).toBe("tumour");
  steps.undo();
  expect(steps.markOf(A)).toBe(null);
  steps.redo();
  expect(steps.markOf(A)).toBe("tumour");
  await settled();
  expect(sent.asked).toEqual(["add tumour 1", "add normal 1", "undo c2", "undo c1", "undo c4"]);
  expect([steps.undo(), steps.undo()]).toEqual([true, false]);
});

test("an undo that is refused leaves the mark", async () => {
  const [steps, sent, settled] = begun();
  await steps.mark([A], "tumour");
  sent.refuses.add("undo c1");
  steps.undo();
  expect(steps.markOf(A)).toBe(null);
  await settled();
  expect(steps.markOf(A)).toBe("tumour");
  expect(steps.canUndo).toBe(true);
});

test("undoing a step that was refused meanwhile asks for nothing", async () => {
  const [steps, sent, settled] = begun();
  sent.refuses.add("add tumour 1");
  void steps.mark([A], "tumour");
  steps.undo();
  await settled();
  expect(sent.asked).toEqual(["add tumour 1"]);
  expect([steps.markOf(A), steps.canRedo]).toEqual([null, false]);
});

test("what is read again keeps the steps that are still on their way", async () => {
  const [steps] = begun();
  void steps.mark([A], "tumour");
  steps.begin(new Map([["a.svs\n1024 0 512", "normal"]]));
  expect([steps.markOf(A), steps.markOf(B)]).toEqual(["tumour", "normal"]);
});

test("what is read while a mark is being undone or done again does not bring it back, or take it away", async () => {
  const [steps, sent, settled] = begun();
  const stored = new Map([["a.svs\n512 0 512", "tumour"]]);
  await steps.mark([A], "tumour");
  steps.undo();
  steps.begin(new Map(stored)); // read before the undo was saved
  expect(steps.markOf(A)).toBe(null);
  await settled();
  steps.redo();
  steps.begin(new Map());
  expect(steps.markOf(A)).toBe("tumour");
  await settled();
  expect(sent.asked).toEqual(["add tumour 1", "undo c1", "undo c2"]);
});

test("a step that was undone elsewhere is gone here too, and the one before it can be undone", async () => {
  const [steps, sent, settled] = begun();
  await steps.mark([A], "tumour");
  await steps.mark([B], "normal");
  sent.refuses.add("undo c2");
  sent.isFinal = true;
  steps.undo();
  await settled();
  expect([steps.problem?.message, steps.refusals]).toEqual(["refused undo c2", 1]);
  expect([steps.markOf(B), steps.canUndo, steps.canRedo]).toEqual([null, true, false]);
  steps.undo();
  await settled();
  expect(sent.asked.at(-1)).toBe("undo c1");
  expect([steps.markOf(A), steps.problem, steps.refusals]).toEqual([null, null, 1]);
});

test("a step that cannot be done again stays undone, and is not offered any more", async () => {
  const [steps, sent, settled] = begun();
  await steps.mark([A], "tumour");
  steps.undo();
  await settled();
  sent.refuses.add("undo c2");
  sent.isFinal = true;
  steps.redo();
  await settled();
  expect([steps.markOf(A), steps.canUndo, steps.canRedo, steps.refusals]).toEqual([null, false, false, 1]);
});
