"""An S3 server on the loopback, in a process of its own, that can be told to fail.

The protocol is moto's. Its requests are served one at a time here: moto looks whether a key is there and writes it
without a lock, so that two writers who both put "if absent" can both win, and a store on it would lose commits.

    with ObjectStore() as server:
        server.make_bucket("bucket")
        server.fail(Faults(unavailable=0.2))      # from now on; server.fail() ends it
        subprocess.run(["embedstore", "ls", "-s", "s3://bucket/store"], env=os.environ | server.environment)

The process is told what to do by lines of JSON on its stdin, so that tests without sockets can use it.
"""

import contextlib
import dataclasses
import io
import json
import random
import socket
import struct
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Self

REPOSITORY = Path(__file__).resolve().parent.parent
REGION = "us-east-1"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Faults:
    """What befalls requests. Shares are of the requests that `methods` and `key` choose, drawn from the seed.

    Attributes:
        unavailable: Share that is answered 503 (SlowDown), undone.
        reset: Share whose connection is reset, undone.
        lost: Share that is done, and whose connection is reset instead of an answer.
        delay_s: Each request waits, seconds.
        refuse: All are answered 403, as for credentials that have run out.
        methods: Only these, as in "PUT POST"; "" for all.
        key: Only requests whose path and query contain this.
        after: So many chosen requests are served before any fails.
        times: No more than so many fail; None for no limit.
    """

    unavailable: float = 0.0
    reset: float = 0.0
    lost: float = 0.0
    delay_s: float = 0.0
    refuse: bool = False
    methods: str = ""
    key: str = ""
    after: int = 0
    times: int | None = None
    seed: int = 0


class ObjectStore:
    """The server's process. It ends with the `with` block, or with the process that started it."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.object_store"], cwd=REPOSITORY, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        self._one_at_a_time = threading.Lock()
        self.port: int = self._answer()["port"]
        self.endpoint = f"http://127.0.0.1:{self.port}"
        #: What Lance, obstore and boto3 take from the environment.
        self.environment = {
            "AWS_ENDPOINT": self.endpoint, "AWS_ENDPOINT_URL": self.endpoint, "AWS_ALLOW_HTTP": "true",
            "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION, "AWS_EC2_METADATA_DISABLED": "true",
        }  # fmt: skip

    def make_bucket(self, name: str) -> str:
        """Make a bucket, and give its URI."""
        self._tell("make_bucket", name=name)
        return f"s3://{name}"

    def fail(self, faults: Faults | None = None) -> None:
        """From now on, requests meet these faults; those of before are over."""
        self._tell("fail", **dataclasses.asdict(faults or Faults()))

    def go_away(self) -> None:
        """Close the port and every connection, until `come_back`; what is stored stays."""
        self._tell("go_away")

    def come_back(self) -> None:
        self._tell("come_back")

    def counts(self) -> Counter[str]:
        """How many requests there were by method, and how many failed by kind of fault."""
        return Counter(self._tell("counts"))

    def close(self) -> None:
        self._process.communicate()  # closes its stdin, which ends it
        self._process.wait()

    def _tell(self, what: str, **how: Any) -> dict[str, Any]:
        assert self._process.stdin is not None
        with self._one_at_a_time:
            self._process.stdin.write(json.dumps({"what": what, **how}) + "\n")
            self._process.stdin.flush()
            return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the S3 server ended with code {self._process.wait()}: its own words are on stderr")
        return json.loads(line)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


# -- in the server's process -------------------------------------------------------------------


class _Server:
    """moto's application behind a lock and behind faults."""

    def __init__(self) -> None:
        from moto.server import DomainDispatcherApplication, create_backend_app

        self._moto = DomainDispatcherApplication(create_backend_app)
        self._serving, self._deciding = threading.Lock(), threading.Lock()
        self.counts: Counter[str] = Counter()
        self._over = threading.Event()
        self.fail()
        # A port that is kept while the server is away: nobody else gets it, and who connects to it is refused.
        self._kept = socket.socket()
        self._kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._kept.bind(("127.0.0.1", 0))
        self.port: int = self._kept.getsockname()[1]
        self._listen()

    def fail(self, **faults: Any) -> None:
        with self._deciding:
            self._over.set()
            self._over = threading.Event()  # whoever still waits for the delay of before goes on
            self._faults, self._seen, self._failed = Faults(**faults), 0, 0
            self._random = random.Random(self._faults.seed)

    def make_bucket(self, name: str) -> None:
        from werkzeug.test import Client

        with self._serving:
            answer = Client(self._moto).put(f"/{name}", headers={"Host": "127.0.0.1"})
        assert answer.status_code == 200, answer.get_data(as_text=True)

    def go_away(self) -> None:
        self._away = True
        self._server.shutdown()
        self._server.server_close()
        self._over.set()

    def come_back(self) -> None:
        self._listen()

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        method = environ["REQUEST_METHOD"]
        if length := int(environ.get("CONTENT_LENGTH") or 0):
            environ["wsgi.input"] = io.BytesIO(environ["wsgi.input"].read(length))
        fault, faults, over = self._fault_of(method, f"{environ['PATH_INFO']}?{environ.get('QUERY_STRING', '')}")
        if faults.delay_s and fault is not None:
            over.wait(faults.delay_s)
        if self._away or fault == "reset":
            return self._reset(environ)
        if fault == "unavailable":
            return _refusal(start_response, "503 Slow Down", "SlowDown")
        if fault == "refuse":
            return _refusal(start_response, "403 Forbidden", "InvalidAccessKeyId")
        with self._serving:
            answer = list(self._moto(environ, start_response))
        return self._reset(environ) if fault == "lost" else answer

    def _fault_of(self, method: str, key: str) -> tuple[str | None, Faults, threading.Event]:
        """The name of what befalls a request ("" for a delay at most), or None; and by what rule."""
        with self._deciding:
            self.counts[method] += 1
            faults = self._faults
            if (faults.methods and method not in faults.methods.split()) or faults.key not in key:
                return None, faults, self._over
            self._seen += 1
            if self._seen <= faults.after or (faults.times is not None and self._failed >= faults.times):
                return None, faults, self._over
            draw = self._random.random()
            kind = "refuse" if faults.refuse else ""
            for name in ("unavailable", "reset", "lost"):
                if not kind and draw < (share := getattr(faults, name)):
                    kind = name
                draw -= share if not kind else 0
            if kind or faults.delay_s:
                self._failed += 1
                self.counts[kind or "delay"] += 1
            return kind, faults, self._over

    def _listen(self) -> None:
        from moto.server import MotoRequestHandler
        from werkzeug.serving import make_server

        class Handler(MotoRequestHandler):
            def log_request(self, *args: Any) -> None:
                """Say nothing."""

            def log_error(self, *args: Any) -> None:
                """Resets are meant."""

        self._server = make_server("127.0.0.1", self.port, self, threaded=True, request_handler=Handler)  # type: ignore[arg-type]
        self._away = False
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    @staticmethod
    def _reset(environ: dict[str, Any]) -> Iterable[bytes]:
        connection: socket.socket = environ["werkzeug.socket"]
        with contextlib.suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.shutdown(socket.SHUT_RDWR)
        raise ConnectionResetError("a fault that was asked for")


def _refusal(start_response: Callable[..., Any], status: str, code: str) -> Iterable[bytes]:
    body = f'<?xml version="1.0" encoding="UTF-8"?><Error><Code>{code}</Code><Message>{code}</Message></Error>'.encode()
    start_response(status, [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))])
    return [body]


def _main() -> None:
    server = _Server()
    print(json.dumps({"port": server.port}), flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        what = order.pop("what")
        answer = dict(server.counts) if what == "counts" else getattr(server, what)(**order)
        print(json.dumps(answer or {}), flush=True)


if __name__ == "__main__":
    _main()
