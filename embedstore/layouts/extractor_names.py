"""What other tools call the extractors of the catalogue, for files that come in and go out.

Sources: `encoder_registry` of mahmoodlab/TRIDENT, and `ExtractorName` of KatherLab/STAMP.
"""

from collections.abc import Mapping

from embedstore.extractors.catalogue import catalogue

#: By layout, the tool's name for each extractor that the catalogue calls otherwise. A name of theirs that is not the
#: same network and output is left out: TRIDENT's conch_v1 is without the projection that the catalogue's conch has.
NAMES: Mapping[str, Mapping[str, str]] = {
    "trident": {
        "uni": "uni_v1", "uni2-h": "uni_v2", "prov-gigapath": "gigapath", "h-optimus-0": "hoptimus0",
        "h-optimus-1": "hoptimus1", "phikon-v2": "phikon_v2", "hibou-l": "hibou_l", "lunit-dino-s8": "lunit-vits8",
        "midnight-12k": "midnight12k",
    },
    "stamp": {"uni2-h": "uni2", "prov-gigapath": "gigapath", "virchow": "virchow-full"},
}  # fmt: skip


def name_of_tool(layout: str, extractor: str) -> str:
    """What the tool of a layout calls an extractor; the same name where it is not known to differ."""
    return NAMES.get(layout, {}).get(extractor, extractor)


def name_of_catalogue(layout: str, stated: str, dim: int) -> str:
    """What the catalogue calls the extractor that a file states.

    Args:
        dim: Length of a vector. Where the catalogue's has another, it is another output of the network, and the name
            stays as the tool has it.
    """
    for name, of_tool in NAMES.get(layout, {}).items():
        if of_tool == stated:
            return name if catalogue()[name].embedding_dim == dim else stated
    return stated
