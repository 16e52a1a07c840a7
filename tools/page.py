"""The page's sources in `viewer/`, and what they are built into.

    python tools/page.py client    # types of the service's routes for the page: viewer/src/api/schema.d.ts
    python tools/page.py build     # the page: embedstore/service/page/, which comes with a clone and with the wheel

The second needs `npm ci` in viewer/ (`make viewer` does both). What is built holds a digest of its sources, by which a
test tells when it is older than they are, also where there is no Node.
"""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VIEWER = ROOT / "viewer"
BUILT = ROOT / "embedstore" / "service" / "page"
DIGEST = BUILT / "sources.sha256"
DOCUMENT = VIEWER / "src" / "api" / "openapi.json"
SCHEMA = VIEWER / "src" / "api" / "schema.d.ts"


def document() -> str:
    """The OpenAPI document of the service, as the page's types are made from it; of every version of embedstore."""
    from embedstore.service.app import openapi_document

    content = openapi_document()
    content["info"]["version"] = ""
    return json.dumps(content, indent=1, sort_keys=True)


def sources_digest() -> str:
    """SHA-256 of what the built page follows from: its sources and the routes' document."""
    digest = hashlib.sha256()
    parts = {"openapi.json": document().encode()}
    for path in VIEWER.rglob("*"):
        place = path.relative_to(VIEWER)
        if path.is_file() and "node_modules" not in place.parts and not _goes_unbuilt(path):
            parts[place.as_posix()] = path.read_bytes().replace(b"\r\n", b"\n")
    for name, content in sorted(parts.items()):
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()


def _goes_unbuilt(path: Path) -> bool:
    return path in (DOCUMENT, SCHEMA) or path.name.endswith(".test.ts") or path.suffix == ".md"


def make_client() -> None:
    content = json.loads(document())
    for methods in content["paths"].values():  # what can also come as Arrow is JSON to the page
        for operation in methods.values():
            for answer in operation["responses"].values():
                kinds = answer.get("content", {})
                if "application/json" in kinds:
                    answer["content"] = {"application/json": kinds["application/json"]}
    DOCUMENT.write_text(json.dumps(content, indent=1))
    _npm("exec", "--", "openapi-typescript", str(DOCUMENT), "--output", str(SCHEMA))


def build() -> None:
    make_client()
    _npm("run", "build")
    DIGEST.write_text(sources_digest() + "\n")


def _npm(*arguments: str) -> None:
    subprocess.run(["npm", "--silent", *arguments], cwd=VIEWER, check=True)


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    {"client": make_client, "build": build}[sys.argv[1]]()
