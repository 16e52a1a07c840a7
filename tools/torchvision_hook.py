"""The import hook that `mend_torchvision.py` copies into site-packages: self-contained and quick to import."""

import sys

TYPE_CHECKING = False  # typing and types take longer to import than this file
if TYPE_CHECKING:
    from types import ModuleType

EXTENSION = "torchvision.extension"  # the module of torchvision that tries to load the compiled operators
SCHEMAS = {
    "nms": "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}
_libraries: list[object] = []  # torch.library takes a schema back when its Library object dies


def install_import_hook() -> None:
    """Define the operators as soon as anything imports torchvision; imports neither torch nor torchvision itself."""
    if not any(type(finder).__name__ == ExtensionFinder.__name__ for finder in sys.meta_path):
        sys.meta_path.insert(0, ExtensionFinder())


class ExtensionFinder:
    """Finds one module, `torchvision.extension`, and defines the schemas right after it has run."""

    def find_spec(self, name: str, path: object = None, target: object = None):  # type: ignore[no-untyped-def]
        if name != EXTENSION:
            return None
        from importlib.machinery import PathFinder

        spec = PathFinder.find_spec(name, path)  # type: ignore[arg-type]
        if spec is not None and spec.loader is not None:
            load = spec.loader.exec_module

            def load_then_define(module: "ModuleType") -> None:
                load(module)
                define_schemas(module)

            spec.loader.exec_module = load_then_define  # type: ignore[method-assign]
        return spec


def define_schemas(extension: "ModuleType") -> None:
    """Define what is absent, once torchvision's own attempt to load its extension has failed."""
    if extension._has_ops():
        return
    import torch

    library = torch.library.Library("torchvision", "FRAGMENT")
    for name, schema in SCHEMAS.items():
        if not hasattr(torch.ops.torchvision, name):
            library.define(schema)
    _libraries.append(library)
