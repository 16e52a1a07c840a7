/** What a fit's progress and a head's card say in words. */
import type { Card } from "../state/fit.svelte";
import type { Job } from "../state/job_events";

/** Metrics that the panel shows; the card has more. */
export const METRICS = [
  {
    name: "auroc",
    title: "AUROC",
    about: "How often a tile of the class is ranked above one that is not: 1 is always, 0.5 is guessing",
  },
  {
    name: "balanced_accuracy",
    title: "Balanced acc.",
    about: "Balanced accuracy: the share of right decisions, each class counting the same; 1 is all",
  },
  {
    name: "f1",
    title: "F1",
    about: "Between 0 and 1: high where few tiles of the class are missed and few others are taken for it",
  },
] as const;

/** Patients from which on an interval says something about new ones. */
const FEW_PATIENTS = 10;

/** How much of a fit is done, 0 to 1 or null where that is not known, and what is being done. */
export function progressWords({ state, progress }: Job): { share: number | null; text: string } {
  if (state === "queued") return { share: null, text: "Waits for the job before it" };
  if (!progress) return { share: null, text: "Begins" };
  if (progress.stage === "predict-first") return { share: null, text: "Predicts this slide" };
  if (progress.stage !== "predict") return { share: null, text: sentence(progress.message) };
  const { done, total } = progress;
  const text = total
    ? `Predicts all slides: ${count(done)} of ${count(total)} tiles`
    : `Predicts: ${count(done)} tiles`;
  return { share: total ? done / total : null, text };
}

const count = (value: number) => value.toLocaleString("en");
export const sentence = (text: string) => text.charAt(0).toUpperCase() + text.slice(1);

/** On what the metrics were measured, and what they are worth where that is little. */
export function cardWords(card: Card): { measured: string; warning: string | null } {
  const by = (card.config.split as { group_by?: string } | undefined)?.group_by ?? "patient";
  const { config, groups, report } = card;
  const level = String(config.level ?? "tile");
  const tiles = `${count(report.rows)} labelled ${level}s`;
  if ("words" in card) {
    return { measured: `Made of words, and of no label; measured on ${tiles} of ${groups} patients.`, warning: null };
  }
  if (by === "patient") {
    return {
      measured: `Measured on ${level === "patient" ? tiles : `${tiles} of ${groups} patients`}, each left out of the fit in turn. 95 % intervals are by patient.`,
      warning:
        groups < FEW_PATIENTS
          ? `Only ${groups} patients: the intervals are as wide as so few allow, and another hospital's slides may differ.`
          : null,
    };
  }
  if (by === "slide_id") {
    return {
      measured: `Measured on ${level === "slide" ? tiles : `${tiles} of ${groups} slides`}, each left out of the fit in turn.`,
      warning:
        level === "tile"
          ? "Too few patients to leave one out: on a new patient the head will be worse. Mark tiles of three patients or more."
          : "Other slides of the same patient were fitted on: on a new patient the head may be worse.",
    };
  }
  if (by === "tile") {
    return {
      measured: `Measured on ${tiles}, each left out of the fit in turn.`,
      warning:
        "These numbers are too good: they come from neighbours of the marked tiles, on the same slides. " +
        "Mark each class on slides of three patients or more.",
    };
  }
  return {
    measured: `Measured on ${tiles} of ${groups} groups by ${by}, each left out of the fit in turn.`,
    warning: null,
  };
}
