/** The wall of slides: what its address asks for, and which part of it is on the screen. */

export interface WallQuery {
  text: string;
  where: string;
  patient: string;
  state: "" | "done" | "empty" | "failed" | "none";
  sort: string;
  order: "ascending" | "descending";
}

const STATES: readonly string[] = ["done", "empty", "failed", "none"];

export function wallOf(query: Record<string, string>): WallQuery {
  const { text = "", where = "", patient = "", state = "", sort = "slide_id", order } = query;
  return {
    text,
    where,
    patient,
    state: STATES.includes(state) ? (state as WallQuery["state"]) : "",
    sort,
    order: order === "descending" ? order : "ascending",
  };
}

/** The condition of a query: its own, and that of the patient. */
export function whereOf({ where, patient }: Pick<WallQuery, "where" | "patient">): string | undefined {
  const parts = [where && `(${where})`, patient && `patient = '${patient.replaceAll("'", "''")}'`].filter(Boolean);
  return parts.length ? parts.join(" AND ") : undefined;
}

/** An area that is read at a glance. */
export function areaText(mm2: number): string {
  const [value, unit] = mm2 < 1000 ? [mm2, "mm²"] : [mm2 / 100, "cm²"];
  return `${value.toLocaleString("en", { maximumFractionDigits: value < 100 ? 1 : 0 })} ${unit}`;
}

/** Cards of a least width in columns, with a gap between them. */
export function columnsOf(width: number, least: number, gap: number): number {
  return Math.max(1, Math.floor((width + gap) / (least + gap)));
}

/** Rows beyond the screen that are there all the same, so that scrolling shows no gaps. */
const SPARE_ROWS = 2;

/** The first card to be drawn, and the one after the last: those on the screen, and SPARE_ROWS around it. */
export function windowOf(top: number, height: number, row: number, columns: number, total: number): [number, number] {
  const first = Math.max(0, Math.floor(top / row) - SPARE_ROWS);
  const last = Math.ceil((top + height) / row) + SPARE_ROWS;
  return [Math.min(first * columns, total), Math.min(last * columns, total)];
}
