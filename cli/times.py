"""Durations and times as they are typed: 90d, 12h, 2026-01-31."""

import datetime as dt
import re
from typing import Any

import click

_UNITS = {"d": "days", "h": "hours", "m": "minutes"}


class Duration(click.ParamType[dt.timedelta]):
    """How long: 90d, 12h or 30m."""

    name = "90d|12h|30m"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> dt.timedelta:
        if isinstance(value, dt.timedelta):
            return value
        duration = _duration(value)
        if duration is None:
            self.fail(f"{value!r}; expected a number of days, hours or minutes, such as 90d, 12h or 30m", param, ctx)
        return duration


class Time(click.ParamType[dt.datetime]):
    """A date, a time, or how long ago; without a time zone it is in local time."""

    name = "DATE|7d|12h"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> dt.datetime:
        if isinstance(value, dt.datetime):
            return value
        ago = _duration(value)
        try:
            if ago is not None:
                return dt.datetime.now(dt.UTC) - ago
            return dt.datetime.fromisoformat(value).astimezone(dt.UTC)
        except (ValueError, OverflowError):
            self.fail(f"{value!r}; expected a date such as 2026-01-31, a time, or how long ago: 7d, 12h", param, ctx)


def _duration(text: str) -> dt.timedelta | None:
    found = re.fullmatch(r"([1-9]\d{0,5})([dhm])", text)
    return None if found is None else dt.timedelta(**{_UNITS[found[2]]: int(found[1])})
