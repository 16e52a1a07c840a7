"""Slide encoders: a vector for each slide of a collection, from the vectors of its tiles."""

from embedstore.encoders.catalogue import PublishedEncoder, published_encoders
from embedstore.encoders.custom import CustomSlideEncoder
from embedstore.encoders.encode import encode_slides
from embedstore.encoders.encoder import Bag, MeanEncoder, SlideEncoder
from embedstore.encoders.load import load_encoder

__all__ = [
    "Bag",
    "CustomSlideEncoder",
    "MeanEncoder",
    "PublishedEncoder",
    "SlideEncoder",
    "encode_slides",
    "load_encoder",
    "published_encoders",
]
