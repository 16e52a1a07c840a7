"""Pictures of slides and tiles, and images that clients send; without any web framework."""

from embedstore.service.pictures.open_slides import OpenSlides
from embedstore.service.pictures.pictures import MEDIA_TYPE, MOST_THUMBNAIL_PX, Picture, Pictures, SlideInfo
from embedstore.service.pictures.slide_file import SlideFile
from embedstore.service.pictures.slide_files import SlideFiles
from embedstore.service.pictures.uploads import MOST_UPLOAD_BYTES, decode_upload

__all__ = [
    "MEDIA_TYPE",
    "MOST_THUMBNAIL_PX",
    "MOST_UPLOAD_BYTES",
    "OpenSlides",
    "Picture",
    "Pictures",
    "SlideFile",
    "SlideFiles",
    "SlideInfo",
    "decode_upload",
]
