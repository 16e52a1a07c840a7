"""The colour space of a JPEG stream, from its markers."""

from dataclasses import dataclass
from typing import Literal

Colourspace = Literal["RGB", "YCBCR"]

SOI, SOS, EOI, APP0, APP14 = 0xD8, 0xDA, 0xD9, 0xE0, 0xEE
FRAME_STARTS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # SOF markers; the three are tables and reserved
RGB_IDS = (ord("R"), ord("G"), ord("B"))


@dataclass(frozen=True, kw_only=True)
class JpegColours:
    """Markers of a JPEG stream that tell its colour space.

    Attributes:
        jfif: There is a JFIF marker; JFIF's only three-component colour space is YCbCr.
        adobe_transform: From Adobe's marker: 0 for none, 1 for YCbCr; None without such a marker.
        component_ids: Of each component, as in the frame header.
        subsampled: The components differ in resolution, so they are not R, G and B.
    """

    jfif: bool
    adobe_transform: int | None
    component_ids: tuple[int, ...]
    subsampled: bool

    def colourspace(self) -> Colourspace | None:
        """The stream's own colour space; None where no marker tells it, and the container's tag decides."""
        if self.adobe_transform is not None:
            return "YCBCR" if self.adobe_transform == 1 else "RGB"
        if self.component_ids == RGB_IDS:
            return "RGB"
        if self.jfif or self.subsampled:
            return "YCBCR"
        return None


def read_colours(stream: bytes) -> JpegColours:
    """Read the markers of a JPEG stream up to its frame header.

    Raises:
        ValueError: the bytes are not a JPEG stream, or it ends before its frame header.
    """
    if stream[:2] != bytes((0xFF, SOI)):
        raise ValueError(f"expected a JPEG stream, found bytes that begin with {stream[:4].hex(' ')}")
    jfif, adobe, at = False, None, 2
    while at + 4 <= len(stream) and stream[at] == 0xFF:
        marker, length = stream[at + 1], int.from_bytes(stream[at + 2 : at + 4], "big")
        body = stream[at + 4 : at + 2 + length]
        if marker == 0xFF:  # fill byte
            at += 1
            continue
        if marker == APP0 and body[:5] == b"JFIF\0":
            jfif = True
        elif marker == APP14 and body[:5] == b"Adobe" and len(body) >= 12:
            adobe = body[11]
        elif marker in FRAME_STARTS and len(body) >= 6 + 3 * body[5]:
            components = [body[6 + 3 * i : 9 + 3 * i] for i in range(body[5])]
            return JpegColours(
                jfif=jfif,
                adobe_transform=adobe,
                component_ids=tuple(component[0] for component in components),
                subsampled=len({component[1] for component in components}) > 1,
            )
        elif marker in (SOS, EOI):
            break
        at += 2 + length
    raise ValueError("JPEG stream without a frame header")
