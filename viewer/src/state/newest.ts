/** What is read again and again: of outcomes that overtake each other, that of the last question stays. */
export class Newest {
  #asked = 0;
  #told = 0;

  /**
   * Ask, and show the answer. An outcome, be it an answer or a failure, that comes after one of a later question is left
   * out: nothing is shown or thrown then.
   */
  async read<T>(ask: () => Promise<T>, show: (answer: T) => void): Promise<void> {
    const question = ++this.#asked;
    let answer: T;
    try {
      answer = await ask();
    } catch (error) {
      if (this.#isNewest(question)) throw error;
      return;
    }
    if (this.#isNewest(question)) show(answer);
  }

  #isNewest(question: number): boolean {
    if (question < this.#told) return false;
    this.#told = question;
    return true;
  }
}
