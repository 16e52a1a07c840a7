"""Which layout a folder has."""

from collections.abc import Mapping
from pathlib import Path

from embedstore.errors import LayoutError
from embedstore.layouts.clam import Clam
from embedstore.layouts.layout import Layout
from embedstore.layouts.lazyslide import LazySlide
from embedstore.layouts.plain import Plain
from embedstore.layouts.slideflow import Slideflow
from embedstore.layouts.stamp import Stamp
from embedstore.layouts.tiatoolbox import TiaToolbox
from embedstore.layouts.trident import Trident
from embedstore.uris import as_store

#: Every layout by its name.
LAYOUTS: Mapping[str, Layout] = {
    layout.name: layout for layout in (Trident(), Clam(), Stamp(), Slideflow(), TiaToolbox(), LazySlide(), Plain())
}


def layout_named(name: str) -> Layout:
    """A layout by its name.

    Raises:
        LayoutError: there is none of that name.
    """
    if name not in LAYOUTS:
        raise LayoutError(f"there is no layout {name!r}; expected one of {', '.join(LAYOUTS)}")
    return LAYOUTS[name]


def layout_of(folder: Path, name: str | None = None) -> Layout:
    """The layout of a folder: the one that is named, or the only one that recognises it.

    Raises:
        LayoutError: none recognises it, or several do; the message names them.
    """
    if not folder.exists():
        raise LayoutError(f"there is no folder {folder}")
    if name is not None:
        layout = layout_named(name)
        if not layout.recognise(folder):
            _refuse_store(folder)
        return layout
    tools = [layout for layout in LAYOUTS.values() if layout.name != Plain.name]
    found = [layout for layout in tools if layout.recognise(folder)]
    if not found and LAYOUTS[Plain.name].recognise(folder):  # which tables of a tool may look like
        return LAYOUTS[Plain.name]
    if len(found) == 1:
        return found[0]
    if found:
        titles = " and ".join(layout.title for layout in found)
        raise LayoutError(
            f"{folder} looks like files of {titles}; say which is meant with "
            f"{' or '.join(f'--layout {layout.name}' for layout in found)}, or give the folder of one"
        )
    _refuse_store(folder)
    raise LayoutError(
        f"{folder} holds no features that are recognised{_what_is_there(folder)}; expected "
        f"{'; '.join(f'{layout.title}: {layout.where}' for layout in LAYOUTS.values())}"
    )


def _refuse_store(folder: Path) -> None:
    if store := as_store(folder):
        raise LayoutError(f"expected features in files; {store}")


def _what_is_there(folder: Path) -> str:
    if not folder.is_dir():
        return ""
    names = sorted(path.name + "/" * path.is_dir() for path in folder.iterdir())
    if not names:
        return " (it is empty)"
    return f" (it has {', '.join(names[:5])}{', …' if len(names) > 5 else ''})"
