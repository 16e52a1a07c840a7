"""Sizes, times and lists of names as text for people."""

from collections.abc import Sequence


def rounded(value: float, digits: int) -> str:
    """'0.123', '12.3' or '1230' of three digits: as `:.3g`, without an exponent where the value is large."""
    return f"{float(f'{value:.{digits}g}'):.15g}"


def human_bytes(size: float) -> str:
    """'1.5 GB', in powers of 1000."""
    for unit in ("B", "KB", "MB", "GB", "TB"):
        if size < 1000:
            return f"{rounded(size, 3)} {unit}"
        size /= 1000
    return f"{rounded(size, 3)} PB"


def human_time(seconds: float) -> str:
    """'40 ms', '12.3 s', '45 min' or '6.7 h'."""
    if seconds < 0.1:
        return f"{rounded(1000 * seconds, 2)} ms"
    if seconds < 100:
        return f"{seconds:.1f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def first_few(names: Sequence[str], most: int = 3) -> str:
    """'a, b, c, …': the first few of many names."""
    return ", ".join(names[:most]) + (", …" if len(names) > most else "")
