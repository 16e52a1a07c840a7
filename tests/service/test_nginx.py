"""deploy/nginx.conf in an nginx: who logs in is who asks, nobody is who they say, and large files pass."""

import re
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingMixIn, UnixStreamServer

import httpx2
import pytest

import embedstore
from embedstore.access_config import AccessConfig
from embedstore.service_config import ServiceConfig
from tests.client.served import served
from tests.export.prediction_scene import grid, make_store
from tests.packaging.sources import REPOSITORY

TEXT = (REPOSITORY / "deploy" / "nginx.conf").read_text(encoding="utf-8")
PEOPLE, PROGRAMS = "slides.hospital.example", "api.slides.hospital.example"
NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
Ask = Callable[..., httpx2.Response]


class _LoginServer(ThreadingMixIn, UnixStreamServer):
    daemon_threads = True

    def get_request(self):  # HTTP handlers want an address
        return self.socket.accept()[0], ("login", 0)


class _Login(BaseHTTPRequestHandler):
    """Answers what oauth2-proxy does: 202 with the name of who is logged in, by a cookie that says it, or 401."""

    def do_GET(self) -> None:
        name = re.search(r"user=(\w+)", self.headers.get("Cookie", ""))
        self.send_response(202 if name else 401)
        if name:
            self.send_header("X-Auth-Request-Preferred-Username", name.group(1))
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


def test_nginx_takes_what_the_service_takes():
    megabytes = int(re.findall(r"client_max_body_size (\d+)m;", TEXT)[0])
    assert megabytes * 2**20 == ServiceConfig().max_upload_bytes
    security = (REPOSITORY / "SECURITY.md").read_text(encoding="utf-8")
    assert "deploy/nginx.conf" in security and f'"{PEOPLE}", "{PROGRAMS}"' in security


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> embedstore.Store:
    made = make_store(tmp_path_factory.mktemp("nginx"), {"a.svs": grid(4, 3)})
    return embedstore.open(made.uri)


@pytest.fixture(scope="module")
def ask(store: embedstore.Store, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ask]:
    """Ask nginx, by the name of one of its servers."""
    if NGINX is None:
        pytest.skip("nginx is not installed")
    access = AccessConfig(
        trust_header="X-Remote-User", trusted_proxy=("unix",), trust_roles={"ada": "admin", "bob": "label"},
        allow_host=(PEOPLE, PROGRAMS),
    )  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="es-") as name, served(store.uri, ServiceConfig(access=access)) as socket:
        folder = Path(name)
        login = _LoginServer(str(folder / "login"), _Login)
        threading.Thread(target=login.serve_forever, daemon=True).start()
        text = TEXT.replace("/run/embedstore/http.sock", str(socket))
        text = text.replace("http://127.0.0.1:4180", f"http://unix:{folder}/login")
        text = re.sub(r"ssl_certificate.*\n", "", text.replace("listen 443 ssl;", f"listen unix:{folder}/nginx;"))
        temporary = "".join(
            f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        (folder / "nginx.conf").write_text(
            f"pid {folder}/pid; error_log {folder}/errors; daemon off; worker_processes 1; user root;"
            f"events {{}}\nhttp {{ access_log off; {temporary}\n{text} }}"
        )
        command = [NGINX, "-c", str(folder / "nginx.conf"), "-e", str(folder / "errors")]
        process = subprocess.Popen(command)
        try:
            while not (folder / "pid").exists() or not (folder / "nginx").exists():
                assert process.poll() is None, (folder / "errors").read_text()
                time.sleep(0.01)
            transport = httpx2.HTTPTransport(uds=str(folder / "nginx"))
            with httpx2.Client(transport=transport, timeout=60) as client:

                def call(method: str, host: str, path: str, **more) -> httpx2.Response:
                    return client.request(method, f"http://{host}{path}", **more)

                yield call
        finally:
            process.terminate()
            process.wait()
            login.shutdown()
            login.server_close()


def test_who_is_not_logged_in_is_sent_to_the_login_and_a_program_is_told_so(ask: Ask):
    page = ask("GET", PEOPLE, "/?slide=a.svs")
    assert page.status_code == 302 and page.headers["location"].endswith("/oauth2/start?rd=/?slide=a.svs")
    assert ask("GET", PEOPLE, "/api").status_code == 401


def test_who_is_logged_in_is_who_asks_whatever_the_browser_says(ask: Ask):
    for name, role in (("ada", "admin"), ("bob", "label"), ("eve", "read")):
        said = ask("GET", PEOPLE, "/api", headers={"Cookie": f"user={name}", "X-Remote-User": "ada"}).json()
        assert (said["caller"], said["role"]) == (name, role)
    assert "<html" in ask("GET", PEOPLE, "/", headers={"Cookie": "user=ada"}).text


def test_a_program_is_known_by_its_token_alone(ask: Ask, store: embedstore.Store):
    assert ask("GET", PROGRAMS, "/api", headers={"X-Remote-User": "ada"}).status_code == 401
    token = store.tokens.create("trial", role="fit")
    time.sleep(0.2)  # tokens that nobody knows are looked for ten times a second
    said = ask("GET", PROGRAMS, "/api", headers={"X-Remote-User": "ada", "Authorization": f"Bearer {token}"}).json()
    assert (said["caller"], said["role"]) == ("trial", "fit")


def test_a_page_of_another_origin_is_refused(ask: Ask):
    about = {"Cookie": "user=ada", "Content-Type": "application/json"}
    path = "/api/collections/toy/search"
    own = ask("POST", PEOPLE, path, headers=about | {"Origin": f"https://{PEOPLE}"}, json={})
    other = ask("POST", PEOPLE, path, headers=about | {"Origin": "https://evil.example"}, json={})
    assert own.status_code == 422 and other.status_code == 403


@pytest.mark.slow
def test_a_file_of_labels_of_many_megabytes_passes(ask: Ask, store: embedstore.Store):
    rows = "".join(f"a.svs,{n % 512}.{n:09d},{n % 384},yes\n" for n in range(100_000))
    about = {"Cookie": "user=bob", "Content-Type": "text/csv"}
    answer = ask(
        "POST", PEOPLE, "/api/labels/tumour/import?name=a.csv", headers=about, content="slide_id,x,y,label\n" + rows
    )
    assert answer.status_code == 200, answer.text
    assert answer.json()["labels"] == 100_000
