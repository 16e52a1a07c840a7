"""`import timm` works, whichever torchvision stands beside torch."""

import subprocess
import sys

import pytest

from embedstore.extractors import torchvision_ops


def run(code: str, *flags: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, *flags, "-c", code], capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.slow
def test_timm_imports_after_definition():
    done = run("from embedstore.extractors.architecture import import_timm; print(import_timm().__name__)")
    assert done.stdout.strip() == "timm", done.stderr


@pytest.mark.slow
def test_without_site_packages_hook_it_is_repaired_even_after_a_failed_import():
    """-S leaves .pth files out, so this sees the environment as the resolver left it."""
    code = f"""
import sys
sys.path[:0] = {[p for p in sys.path if p]!r}
sys.meta_path[:] = [f for f in sys.meta_path if type(f).__name__ != "ExtensionFinder"]
try:
    import torchvision
except RuntimeError as error:
    assert "torchvision::nms" in str(error)
from embedstore.extractors.torchvision_ops import define_missing_operators
define_missing_operators(); define_missing_operators()
import timm
print(timm.create_model("resnet10t", pretrained=False).num_features)
"""
    done = run(code, "-S")
    assert done.stdout.strip() == "512", done.stderr


def test_the_hook_imports_nothing_heavy_and_is_installed_once():
    code = (
        "import sys; sys.modules.pop('torchvision', None)\n"
        "from embedstore.extractors.torchvision_ops import install_import_hook as hook\n"
        "hook(); hook()\n"
        "print(sum(type(f).__name__ == 'ExtensionFinder' for f in sys.meta_path), 'torch' in sys.modules)"
    )
    assert run(code).stdout.split() == ["1", "False"]


def test_the_line_in_site_packages_outlives_its_module(tmp_path):
    pth = torchvision_ops.install_in_site_packages(tmp_path)
    line = pth.read_text()
    assert line.count("\n") == 1 and line.startswith("import ")  # site runs lines that begin so
    found = run(
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n{line}\n"
        f"print('{torchvision_ops.HOOK_MODULE}' in sys.modules)",
        "-S",
    )
    assert found.stdout.strip() == "True", found.stderr
    gone = run(line, "-S", "-I")
    assert (gone.returncode, gone.stderr) == (0, "")


def test_a_healthy_environment_is_left_alone(monkeypatch, capsys):
    monkeypatch.setattr(torchvision_ops, "timm_import_error", lambda: None)
    monkeypatch.setattr(torchvision_ops, "install_in_site_packages", lambda folder: pytest.fail("wrote something"))
    assert torchvision_ops.main() == 0
    assert "nothing changed" in capsys.readouterr().err


def test_another_failure_is_not_hidden(monkeypatch, capsys):
    monkeypatch.setattr(torchvision_ops, "timm_import_error", lambda: "ImportError: libfoo.so")
    monkeypatch.setattr(torchvision_ops, "install_in_site_packages", lambda folder: pytest.fail("wrote something"))
    assert torchvision_ops.main() == 1
    assert "libfoo.so" in capsys.readouterr().err
