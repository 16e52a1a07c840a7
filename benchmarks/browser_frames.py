"""Frames that a page shows in Chromium: how many, how evenly, and what they cost its main thread."""

import itertools
import statistics
from collections.abc import Callable
from typing import Any

from playwright.sync_api import CDPSession, Page

FRAME_MS = 1000 / 60
ARGUMENTS = ("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync")
#: Records when frames begin, until it is read.
RECORD = """() => {
  window.frames_ms = [];
  const frame = (now) => { window.frames_ms.push(now); window.frames_id = requestAnimationFrame(frame); };
  window.frames_id = requestAnimationFrame(frame);
}"""
READ = "() => { cancelAnimationFrame(window.frames_id); return window.frames_ms; }"


def frames_while(page: Page, action: Callable[[], object]) -> dict[str, Any]:
    """What is shown while something is done on the page.

    A frame is the time between two calls of requestAnimationFrame; one counts as dropped for each 1/60 s that passed
    without one. `main_thread_ms` is CPU time of the page's main thread a frame.
    """
    devtools = page.context.new_cdp_session(page)
    devtools.send("Performance.enable", {"timeDomain": "threadTicks"})
    before = _main_thread_s(devtools)
    page.evaluate(RECORD)
    action()
    times = page.evaluate(READ)
    busy_s = _main_thread_s(devtools) - before
    devtools.detach()
    deltas = [b - a for a, b in itertools.pairwise(times)]
    dropped = sum(max(0, round(delta / FRAME_MS) - 1) for delta in deltas)
    return {
        "frames": len(deltas),
        "frames_a_second": round(1000 * len(deltas) / sum(deltas), 1),
        "median_ms": round(statistics.median(deltas), 1),
        "p95_ms": round(statistics.quantiles(deltas, n=20)[-1], 1),
        "dropped": dropped,
        "dropped_share": round(dropped / (dropped + len(deltas)), 3),
        "main_thread_ms": round(1000 * busy_s / len(deltas), 2),
    }


def _main_thread_s(devtools: CDPSession) -> float:
    metrics = devtools.send("Performance.getMetrics")["metrics"]
    return float(next(each["value"] for each in metrics if each["name"] == "TaskDuration"))
