"""Every error that embedstore raises on purpose.

A message names what failed, where, what was expected, what was found, and the next step.
Each class is also the built-in that it is, so that `except FileNotFoundError` keeps working,
and each takes one message string, so that it survives pickling between processes.
"""


class EmbedStoreError(Exception):
    """Root of the tree: catch it to catch everything that embedstore foresees."""


class ConfigError(EmbedStoreError, ValueError):
    """A configuration that cannot be run; raised before any work."""


# -- slides ---------------------------------------------------------------------------------


class SlideError(EmbedStoreError):
    """Something is wrong with one slide; it costs that slide, never the run."""


class SlideNotFoundError(SlideError, FileNotFoundError):
    """No file stands at a slide's path."""


class SlideFormatError(SlideError, ValueError):
    """No reader opens the file, or what it holds is not a slide."""


class ResolutionError(SlideError, ValueError):
    """A slide does not say how large a pixel is, or not finely enough for the asked mpp."""


class RegionReadError(SlideError, OSError):
    """A region or level of an open slide cannot be decoded."""


class TissueError(SlideError, ValueError):
    """Tissue cannot be found on this kind of image, or a given mask cannot be used."""


class TilingError(SlideError, ValueError):
    """A grid of tiles cannot be laid."""


class NoTileError(TilingError):
    """No tile of the slide has enough tissue; the message says how much was found."""


class UnreadableTilesError(SlideError, OSError):
    """More tiles of a slide were unreadable than the run allows."""


class SlideListError(EmbedStoreError, ValueError):
    """A list of slides (CSV, Parquet, labels.csv) is malformed."""


# -- extractors -----------------------------------------------------------------------------


class ExtractorError(EmbedStoreError):
    """An extractor cannot be used."""


class UnknownExtractorError(ExtractorError, LookupError):
    """No extractor has that name."""


class WeightsError(ExtractorError, OSError):
    """Weights are missing, gated, or do not fit the architecture."""


class DeviceError(ExtractorError, RuntimeError):
    """The asked device is not there."""


# -- store ----------------------------------------------------------------------------------


class StoreError(EmbedStoreError):
    """A store cannot be used."""


class StoreNotFoundError(StoreError, FileNotFoundError):
    """No store stands at the path."""


class CollectionNotFoundError(StoreError, LookupError):
    """The store has no such collection."""


class CollectionMismatchError(StoreError, ValueError):
    """A collection was made with another configuration or extractor; the message lists the differences."""


class TileNotFoundError(StoreError, LookupError):
    """The store has no such tile."""


class SlideNotInStoreError(StoreError, LookupError):
    """The store has no such slide or patient."""


class StoreBusyError(StoreError, RuntimeError):
    """Another process is writing to the table."""


class CommitError(StoreError, RuntimeError):
    """A delivery of rows does not match what it says of itself; nothing was committed."""


# -- labels and heads ---------------------------------------------------------------------


class LabelFormatError(EmbedStoreError, ValueError):
    """A file of labels is of another format than it says, or malformed."""


class LabelError(EmbedStoreError, ValueError):
    """Labels cannot answer a task: an unknown class, one class only, no tile hit."""


class TaskNotFoundError(EmbedStoreError, LookupError):
    """The store has no label of that task."""


class SplitError(EmbedStoreError, ValueError):
    """Labelled tiles cannot be split by patient as asked."""


class VectorError(EmbedStoreError, ValueError):
    """Stored vectors cannot be fitted: they hold NaN or infinity, or are of another size."""


class HeadNotFoundError(StoreError, LookupError):
    """The store has no such head."""


class HeadMismatchError(StoreError, ValueError):
    """A head was given vectors of another extractor, or the store no longer holds what it was fitted on."""


class HeadExistsError(StoreError, FileExistsError):
    """A head of that name is in the store already."""


class ViewsNotFoundError(StoreError, LookupError):
    """The collection has no stored views."""


class AugmenterNotFoundError(StoreError, LookupError):
    """The store has no such augmenter."""


class AugmenterMismatchError(StoreError, ValueError):
    """An augmenter was made for vectors of another extractor, or is no longer the one that a head was fitted with."""


class AugmenterExistsError(StoreError, FileExistsError):
    """An augmenter of that name is in the store already."""


class AugmenterRefusedError(EmbedStoreError, ValueError):
    """An augmenter predicts augmented tiles no better than the original tile does; it was not saved."""


class CandidatesError(EmbedStoreError, ValueError):
    """All candidates for an extractor failed."""


class PredictionsNotFoundError(StoreError, LookupError):
    """The store has no predictions of that head."""


class ExportError(EmbedStoreError, ValueError):
    """What was asked for cannot be exported that way."""


class QueryError(EmbedStoreError, ValueError):
    """What is given to search by cannot be used: no image, one smaller than a tile, no vector."""


# -- the run --------------------------------------------------------------------------------


class RunError(EmbedStoreError, RuntimeError):
    """The run itself cannot go on: workers die faster than they may be restarted."""


class WorkerDiedError(EmbedStoreError, RuntimeError):
    """The process of a worker ended in the middle of a call, or is being started again."""


class UnknownKeyError(EmbedStoreError, LookupError):
    """A worker was told of a slide before it was started again, or pixels were lost with a node."""


class ClusterError(EmbedStoreError, ConnectionError):
    """A Ray cluster cannot be reached or lacks what was asked of it."""
