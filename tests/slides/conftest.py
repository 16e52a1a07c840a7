"""Slides that several tests draw once and share."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.slides.drawings import tissue_picture, write_tiff


@pytest.fixture(scope="session")
def drawn_slide(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """A slide of 700×530 px in given colours, drawn when it is first asked for; not to be written to."""
    made: dict[tuple[str, bool], Path] = {}
    folder = tmp_path_factory.mktemp("drawn")

    def draw(colours: str = "ycbcr", aperio: bool = True) -> Path:
        if (colours, aperio) not in made:
            name = f"{colours}.svs" if aperio else f"{colours}.tif"
            made[colours, aperio] = write_tiff(folder / name, tissue_picture(700, 530), colours=colours, aperio=aperio)
        return made[colours, aperio]

    return draw
