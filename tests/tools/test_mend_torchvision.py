"""`import timm` works, whichever torchvision stands beside torch."""

import subprocess
import sys

import pytest

from tools import mend_torchvision, torchvision_hook


def run(code: str, *flags: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, *flags, "-c", code], capture_output=True, text=True, timeout=300, check=False
    )


def test_the_hook_imports_nothing_heavy_and_is_installed_once():
    code = (
        "import sys; sys.modules.pop('torchvision', None)\n"
        "from tools.torchvision_hook import install_import_hook as hook\n"
        "hook(); hook()\n"
        "print(sum(type(f).__name__ == 'ExtensionFinder' for f in sys.meta_path), 'torch' in sys.modules)"
    )
    assert run(code).stdout.split() == ["1", "False"]


@pytest.mark.slow
def test_timm_imports_once_the_hook_is_installed(tmp_path):
    """-S leaves .pth files out, so this sees the environment as the resolver left it, and this hook alone."""
    code = f"""
import sys
sys.path[:0] = {[str(tmp_path), *filter(None, sys.path)]!r}
{mend_torchvision.install_in_site_packages(tmp_path).read_text()}
import timm
print(timm.create_model("resnet10t", pretrained=False).num_features)
"""
    done = run(code, "-S")
    assert done.stdout.strip() == "512", done.stderr


def test_the_hook_defines_what_the_extractors_define():
    from embedstore.extractors.networks.architecture import TORCHVISION_OPERATORS

    assert tuple(torchvision_hook.SCHEMAS.values()) == TORCHVISION_OPERATORS


def test_the_line_in_site_packages_outlives_its_module(tmp_path):
    pth = mend_torchvision.install_in_site_packages(tmp_path)
    line = pth.read_text()
    assert line.count("\n") == 1 and line.startswith("import ")  # site runs lines that begin so
    found = run(
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n{line}\n"
        f"print('{mend_torchvision.HOOK_MODULE}' in sys.modules)",
        "-S",
    )
    assert found.stdout.strip() == "True", found.stderr
    gone = run(line, "-S", "-I")
    assert (gone.returncode, gone.stderr) == (0, "")


def test_a_healthy_environment_is_left_alone(monkeypatch, capsys):
    monkeypatch.setattr(mend_torchvision, "timm_import_error", lambda: None)
    monkeypatch.setattr(mend_torchvision, "install_in_site_packages", lambda folder: pytest.fail("wrote something"))
    assert mend_torchvision.main() == 0
    assert "nothing changed" in capsys.readouterr().err


def test_another_failure_is_not_hidden(monkeypatch, capsys):
    monkeypatch.setattr(mend_torchvision, "timm_import_error", lambda: "ImportError: libfoo.so")
    monkeypatch.setattr(mend_torchvision, "install_in_site_packages", lambda folder: pytest.fail("wrote something"))
    assert mend_torchvision.main() == 1
    assert "libfoo.so" in capsys.readouterr().err
