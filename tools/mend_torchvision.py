"""Make plain `import timm` work in an environment where torchvision's compiled operators cannot be loaded.

    python tools/mend_torchvision.py

With plain pip and no GPU a CPU-only torch can meet a torchvision that is linked against CUDA. Its extension then
fails to load (torchvision goes on without it), but `torchvision/_meta_registrations.py` registers fake kernels for
two operators that the extension would have defined, and `import torchvision`, hence `import timm`, ends with
`RuntimeError: operator torchvision::nms does not exist`. Defining the two schemas is enough: nothing in timm's
networks calls them. embedstore's extractors do this in their own process; this script does it for everything else
that imports timm or torchvision here.

Where, and only where, `import timm` fails in this way, it copies `torchvision_hook.py` beside a `.pth` file into
site-packages.
"""

import sys
from pathlib import Path

HOOK_SOURCE = Path(__file__).with_name("torchvision_hook.py")
HOOK_MODULE = "_embedstore_torchvision_hook"
# `except ImportError` keeps the line silent where the module beside it was removed; it costs under 1 ms at start-up.
PTH_LINE = (
    f"import sys; exec('try:\\n import {HOOK_MODULE} as m\\n m.install_import_hook()\\nexcept ImportError:\\n pass')\n"
)


def timm_import_error() -> str | None:
    """Import timm in a fresh interpreter: None where it works, else the last line of what it wrote."""
    import subprocess

    done = subprocess.run([sys.executable, "-c", "import timm"], capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return None
    return (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]


def is_missing_operator(error: str) -> bool:
    """Whether an error is the one that the hook cures."""
    return "operator torchvision::" in error and "does not exist" in error


def install_in_site_packages(folder: Path) -> Path:
    """Write the hook module and its `.pth` file into a site-packages folder; returns the `.pth` file's path."""
    import py_compile

    hook = folder / f"{HOOK_MODULE}.py"
    hook.write_text(HOOK_SOURCE.read_text(encoding="utf-8"), encoding="utf-8")
    py_compile.compile(str(hook))  # it loads at every start of this Python: under 1 ms, 4 ms where not compiled
    pth = folder / f"{HOOK_MODULE}.pth"
    pth.write_text(PTH_LINE, encoding="utf-8")
    return pth


def main() -> int:
    """Check `import timm`, write the `.pth` file if it fails for want of torchvision's operators, and check again."""
    import importlib.util
    import sysconfig

    say = sys.stderr.write
    if importlib.util.find_spec("timm") is None:
        say("timm is not installed in this environment; nothing changed\n")
        return 1
    error = timm_import_error()
    if error is None:
        say("import timm works; nothing changed\n")
        return 0
    if not is_missing_operator(error):
        say(f"import timm fails for another reason, nothing changed: {error}\n")
        return 1
    pth = install_in_site_packages(Path(sysconfig.get_path("purelib")))
    error = timm_import_error()
    if error is not None:
        say(f"wrote {pth}, yet import timm still fails: {error}\n")
        return 1
    say(f"torchvision's operators do not load beside this torch; wrote {pth}, and import timm works now\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
