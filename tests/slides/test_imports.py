"""What only one reader needs is imported when it opens a slide."""

import subprocess
import sys


def test_readers_libraries_wait_for_their_slides():
    code = "import sys, embedstore.slides\nprint({'pydicom', 'tifffile', 'fastslide', 'pyarrow'} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300)
    assert done.stdout.strip() == "set()"
