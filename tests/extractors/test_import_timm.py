"""The extractors import timm, whichever torchvision stands beside torch."""

import subprocess
import sys

import pytest


def run(code: str, *flags: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *flags, "-c", code], capture_output=True, text=True, timeout=300, check=False
    )


@pytest.mark.slow
def test_timm_imports():
    done = run("from embedstore.extractors.networks.architecture import import_timm; print(import_timm().__name__)")
    assert done.stdout.strip() == "timm", done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("before", ["pass", "import torchvision"])
def test_without_a_hook_in_site_packages_it_is_repaired_even_after_a_failed_import(before):
    """-S leaves .pth files out, so this sees the environment as the resolver left it."""
    code = f"""
import sys
sys.path[:0] = {[p for p in sys.path if p]!r}
sys.meta_path[:] = [f for f in sys.meta_path if type(f).__name__ != "ExtensionFinder"]
try:
    {before}
except RuntimeError as error:
    assert "torchvision::nms" in str(error)
from embedstore.extractors.networks.architecture import import_timm
import_timm(); timm = import_timm()
print(timm.create_model("resnet10t", pretrained=False).num_features)
"""
    done = run(code, "-S")
    assert done.stdout.strip() == "512", done.stderr
