"""The service: a store over HTTP. `create_app` makes the application, `serve` runs it."""

from embedstore.service.app import create_app
from embedstore.service.server import serve

__all__ = ["create_app", "serve"]
