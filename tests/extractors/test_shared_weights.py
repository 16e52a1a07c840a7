"""Weights come to a machine once, however many workers start on it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from embedstore.errors import ConfigError, WeightsError
from embedstore.extractors import ExtractorConfig, load_extractor
from embedstore.extractors.networks.architecture import create_network
from tests.bucket_files import put

#: A hub that has any file, and takes a second to give it; at its end it prints how often it gave one.
HUB = """
import http.server, sys, threading, time
content, gets = bytes(3 << 20), []
class Handler(http.server.BaseHTTPRequestHandler):
    def do_HEAD(self):
        self.send_response(200)
        about = {"Content-Length": len(content), "ETag": '"' + "a" * 64 + '"', "X-Repo-Commit": "b" * 40}
        for name, value in about.items():
            self.send_header(name, str(value))
        self.end_headers()
    def do_GET(self):
        gets.append(self.path)
        self.do_HEAD()
        time.sleep(1)
        self.wfile.write(content)
    def log_message(self, *args):
        pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
print(server.server_port, flush=True)
sys.stdin.read()
print(sum("/resolve/" in path for path in gets))
"""
WORKER = """
from embedstore.extractors.networks.weights import find_weights
from embedstore.extractors.catalogue import catalogue
print(find_weights(catalogue()["h-optimus-0"]).stat().st_size)
"""


@pytest.mark.slow
def test_weights_of_an_object_store_are_those_of_the_file(bucket, tmp_path, monkeypatch):
    monkeypatch.setenv("EMBEDSTORE_CACHE", str(tmp_path / "cache"))
    torch.manual_seed(5)
    file = tmp_path / "weights.safetensors"
    save_file(create_network("resnet10t", {"num_classes": 7}, pooling="network").state_dict(), file)
    uri = put(f"{bucket}/w/weights.safetensors", file)
    one, other = (load_extractor(ExtractorConfig(ref="resnet10t", weights=str(w), tile_px=48)) for w in (file, uri))
    assert one.record() == other.record()
    with pytest.raises(WeightsError, match=f"weights {uri}x cannot be read: there is no object"):
        load_extractor(ExtractorConfig(ref="resnet10t", weights=uri + "x", tile_px=48))
    with pytest.raises(ConfigError, match="name, password or signature"):
        ExtractorConfig(ref="resnet10t", weights="https://host/w.safetensors?sig=secret")


@pytest.mark.slow
def test_two_workers_that_start_together_download_from_the_hub_once(tmp_path: Path):
    hub = subprocess.Popen(
        [sys.executable, "-c", HUB], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )  # a process: tests have no sockets
    assert hub.stdout is not None
    environment = os.environ | {
        "HF_ENDPOINT": f"http://127.0.0.1:{int(hub.stdout.readline())}", "HF_HOME": str(tmp_path),
        "HF_HUB_DISABLE_XET": "1", "HF_HUB_OFFLINE": "0",
    }  # fmt: skip
    workers = [
        subprocess.Popen([sys.executable, "-c", WORKER], env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    assert [worker.communicate(timeout=300)[0].strip() for worker in workers] == [str(3 << 20)] * 2
    assert hub.communicate()[0].split() == ["1"]
