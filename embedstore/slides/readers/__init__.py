"""Readers: one for each way of decoding a slide file, and the choice of the fastest whose pixels are right."""

from embedstore.slides.readers.dicom_series import is_dicom, series_levels
from embedstore.slides.readers.slide_process import check_reader, open_slide, read_image_apart, single_thread

__all__ = ["check_reader", "is_dicom", "open_slide", "read_image_apart", "series_levels", "single_thread"]
