/** How a class looks: a colour that the colour-blind tell apart and that stands out on H&E, and a letter.
 *
 * Colours are those of Okabe and Ito (2008), with the two that tissue itself has (pink, purple) last.
 */

export interface ClassLook {
  label: string;
  color: string;
  /** Of the text on the colour. */
  ink: string;
  /** One or two letters that no other class of the task has. */
  letter: string;
  /** The key that chooses it, "1" to "9"; "" of later ones. */
  key: string;
}

const COLORS: readonly (readonly [color: string, ink: string])[] = [
  ["#0072b2", "#fff"], // blue
  ["#e69f00", "#000"], // orange
  ["#009e73", "#000"], // green
  ["#f0e442", "#000"], // yellow
  ["#56b4e9", "#000"], // sky blue
  ["#d55e00", "#000"], // vermilion
  ["#1a1a1a", "#fff"], // black
  ["#cc79a7", "#000"], // pink
  ["#8a6cc9", "#000"], // purple
];
export const MOST_KEYS = 9;

/** The look of each class, in the order in which the classes were made: a new one changes no other. */
export function classLooks(labels: readonly string[]): ClassLook[] {
  const taken = new Set<string>();
  return labels.map((label, i) => {
    const [color, ink] = COLORS[i % COLORS.length]!;
    const letter = lettersOf(label).find((each) => !taken.has(each)) ?? String(i + 1);
    taken.add(letter);
    return { label, color, ink, letter, key: i < MOST_KEYS ? String(i + 1) : "" };
  });
}

/** "T", "Tu", "Tm", … of "tumour": the first letters of its words, then its first letter with each other. */
function lettersOf(label: string): string[] {
  const letters = [...label].filter((each) => /[\p{L}\p{N}]/u.test(each));
  const first = (letters[0] ?? "?").toUpperCase();
  const initials = label
    .split(/[^\p{L}\p{N}]+/u)
    .filter(Boolean)
    .map((word) => word[0]!.toUpperCase());
  return [
    first,
    ...(initials.length > 1 ? [initials.slice(0, 2).join("")] : []),
    ...letters.slice(1).map((each) => first + each),
  ];
}
