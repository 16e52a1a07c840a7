"""Slides that several tests draw once and share."""

from tests.slides.conftest import drawn_slide

__all__ = ["drawn_slide"]
