/** What is read again and again: of answers that overtake each other, that to the last question stays. */
export class Newest {
  #asked = 0;
  #answered = 0;

  /** Ask, and show the answer unless one to a later question was shown. */
  async read<T>(ask: () => Promise<T>, show: (answer: T) => void): Promise<void> {
    const question = ++this.#asked;
    const answer = await ask();
    if (question < this.#answered) return;
    this.#answered = question;
    show(answer);
  }
}
