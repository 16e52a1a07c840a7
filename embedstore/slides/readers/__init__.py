"""Readers: one for each way of decoding a slide file, and the choice of the fastest whose pixels are right."""

from embedstore.slides.readers.opening import READERS, check_reader, choose_slide, open_slide, single_thread

__all__ = ["READERS", "check_reader", "choose_slide", "open_slide", "single_thread"]
