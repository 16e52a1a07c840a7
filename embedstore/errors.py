"""Every error that embedstore raises on purpose.

A message names what failed, where, what was expected, what was found, and the next step.
Each class is also the built-in that it is, so that `except FileNotFoundError` keeps working,
and each takes one message string, so that it survives pickling between processes. Next steps are named as flags and
commands; a note, which tracebacks show and the command line does not, says what these are in Python.
"""

from embedstore.python_terms import python_terms

#: Letters of a message at its beginning, which says what is wrong, and at its end, which says what to do.
_HEAD, _TAIL = 900, 300


class EmbedStoreError(Exception):
    """Root of the tree: catch it to catch everything that embedstore foresees.

    A message is one line that can be shown on a terminal, whatever it quotes: control characters are escaped, and one
    of more than 1,200 letters loses its middle.
    """

    _terms_hold = "In Python"  # where the terms of Python work that a note gives

    def __init__(self, *args: object):
        super().__init__(*args)
        self.args = tuple(one_line(arg) if isinstance(arg, str) else arg for arg in args)
        if terms := python_terms(str(self.args[0]) if args else ""):
            self.add_note(f"{self._terms_hold}: {terms}")


def one_line(text: str) -> str:
    """A text that may quote anything, for one line of a terminal: shortened, with control characters escaped."""
    if len(text) > _HEAD + _TAIL:
        text = f"{text[:_HEAD]} … {text[-_TAIL:]}"
    return shown_on_a_line(text)


def shown_on_a_line(text: str) -> str:
    """A text that may quote anything, such as the name of a slide, with control characters escaped."""
    if text.isprintable():
        return text
    line = " ".join(text.splitlines())
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in line)


class ConfigError(EmbedStoreError, ValueError):
    """A configuration that cannot be run; raised before any work."""


class AccessError(EmbedStoreError, OSError):
    """A file, folder or store cannot be read or written: permissions, a full disk, an object store that refuses."""


class TableError(EmbedStoreError, ValueError):
    """A file cannot be read as a table; whoever asked for the table raises an error of its own from this one."""


# -- slides ---------------------------------------------------------------------------------


class SlideError(EmbedStoreError):
    """Something is wrong with one slide; that slide fails, and the run goes on."""


class SlideNotFoundError(SlideError, FileNotFoundError):
    """There is no file at a slide's path."""


class SlideFormatError(SlideError, ValueError):
    """No reader opens the file, or what it holds is not a slide."""


class SlideChangedError(SlideError, OSError):
    """A slide's file was written to, or replaced, between its planning and the last of its tiles."""


class ResolutionError(SlideError, ValueError):
    """A slide does not state its resolution, or is coarser than the requested mpp."""


class RegionReadError(SlideError, OSError):
    """A region or level of an open slide cannot be decoded."""


class TissueError(SlideError, ValueError):
    """Tissue cannot be found on this kind of image, or a given mask cannot be used."""


class TilingError(SlideError, ValueError):
    """A grid of tiles cannot be laid over a slide."""


class NoTileError(TilingError):
    """No tile of the slide has enough tissue; the message says how much was found."""


class UnreadableTilesError(SlideError, OSError):
    """More tiles of a slide were unreadable than the run allows."""


class SlideFetchError(SlideError, OSError):
    """A slide in an object store does not come, or was changed while it was read."""


class SlideCacheFullError(SlideFetchError):
    """Slides in use fill the cache of fetched slides; there is room for another once one of them is done."""


class SlideListError(EmbedStoreError, ValueError):
    """A list of slides (CSV, Parquet, labels.csv) is malformed."""


class LayoutError(EmbedStoreError, ValueError):
    """A folder is of no layout of features that is known, or of several."""


class VerificationError(EmbedStoreError, ValueError):
    """Vectors that are to be imported are not those of the extractor that is said to have made them."""


class FeatureFileError(SlideError, ValueError):
    """A file of features is damaged or incomplete, or does not go with its slide."""


# -- extractors -----------------------------------------------------------------------------


class ExtractorError(EmbedStoreError):
    """An extractor cannot be used."""


class UnknownExtractorError(ExtractorError, LookupError):
    """No extractor has that name."""


class WeightsError(ExtractorError, OSError):
    """Weights are missing, gated, or do not fit the architecture."""


class DeviceError(ExtractorError, RuntimeError):
    """The requested device does not exist."""


# -- store ----------------------------------------------------------------------------------


class StoreError(EmbedStoreError):
    """A store cannot be used."""


class StoreNotFoundError(StoreError, FileNotFoundError):
    """There is no store at the path."""


class StoreFormatError(StoreError, ValueError):
    """A store was written by a newer version, or does not say by which."""


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


class LeaseLostError(StoreBusyError):
    """Another process has taken the lease of the table; what was not committed under it is not committed."""


class VersionNotFoundError(StoreError, RuntimeError):
    """A table has no such version, or none any more, as compaction forgets old ones."""


class CommitError(StoreError, RuntimeError):
    """Fragments to be committed do not match their description; nothing was committed."""


# -- labels and heads ---------------------------------------------------------------------


class LabelFormatError(EmbedStoreError, ValueError):
    """A label file is malformed, or not of the format that was given."""


class OtherFormatError(LabelFormatError):
    """A well-formed JSON or XML file that holds no annotations, such as the files of a QuPath project."""


class LabelError(EmbedStoreError, ValueError):
    """Labels cannot be used for a task: an unknown class, only one class, or no labelled tile."""


class TaskNotFoundError(EmbedStoreError, LookupError):
    """The store has no labels of that task."""


class SplitError(EmbedStoreError, ValueError):
    """Labelled tiles cannot be split by patient as requested."""


class VectorError(EmbedStoreError, ValueError):
    """Vectors cannot be used: they hold NaN or infinity, or are of another size."""


class HeadNotFoundError(StoreError, LookupError):
    """The store has no such head."""


class HeadMismatchError(StoreError, ValueError):
    """A head was given vectors of another extractor, or the store no longer holds what it was fitted on."""


class HeadExistsError(StoreError, FileExistsError):
    """The store already has a head of that name."""


class PredictionsExistError(StoreError, FileExistsError):
    """The store has predictions of that head from another collection."""


class ViewsNotFoundError(StoreError, LookupError):
    """The collection has no stored views."""


class AugmenterNotFoundError(StoreError, LookupError):
    """The store has no such augmenter."""


class AugmenterMismatchError(StoreError, ValueError):
    """An augmenter was trained on vectors of another extractor, or is not the one that a head was fitted with."""


class AugmenterExistsError(StoreError, FileExistsError):
    """The store already has an augmenter of that name."""


class AugmenterRefusedError(EmbedStoreError, ValueError):
    """An augmenter predicts augmented tiles no better than the original tile does; it was not saved."""


class CandidatesError(EmbedStoreError, ValueError):
    """All candidates for an extractor failed."""


class PredictionsNotFoundError(StoreError, LookupError):
    """The store has no predictions of that head."""


class MapNotFoundError(StoreError, LookupError):
    """The collection has no map."""


class EncodingNotFoundError(StoreError, LookupError):
    """The collection has no encoding of its slides of that name."""


class UnknownEncoderError(EmbedStoreError, LookupError):
    """No slide encoder has that name."""


class EncoderMismatchError(StoreError, ValueError):
    """A slide encoder wants tiles of another extractor, or is not the one that an encoding was made with."""


class JobNotFoundError(StoreError, LookupError):
    """There is no such job, or what it wrote is no longer kept."""


class JobsFullError(EmbedStoreError, RuntimeError):
    """So many jobs wait that the service takes no more for now."""


class ExportError(EmbedStoreError, ValueError):
    """There is nothing to export in the requested format, or the output cannot be written."""


class LayoutExportError(ExportError):
    """A slide cannot be written in the layout of another tool; the others of the export can."""


class QueryError(EmbedStoreError, ValueError):
    """A query cannot be used: not an image, an image smaller than a tile, or not a vector."""


class PictureNotFoundError(EmbedStoreError, LookupError):
    """There is no such picture: a level or tile that a slide does not have, or a kind that it cannot give."""


# -- the run --------------------------------------------------------------------------------


class RunError(EmbedStoreError, RuntimeError):
    """The run cannot go on: workers died more often than it allows, or an extractor failed."""


class ProcessEndedError(EmbedStoreError, RuntimeError):
    """A process that reads files ended, or was ended, before it answered; the message says how.

    Whoever asked it says which file that costs, by an error of the file.
    """


class WorkerDiedError(EmbedStoreError, RuntimeError):
    """The process of a worker ended during a call, or is being restarted."""


class UnknownKeyError(EmbedStoreError, LookupError):
    """A worker lost an open slide when it was restarted, or a plan or pixels were lost with a node."""


class ClusterError(EmbedStoreError, ConnectionError):
    """A Ray cluster cannot be reached."""


# -- the service ----------------------------------------------------------------------------


class RequestError(EmbedStoreError, ValueError):
    """A request that the service refuses for a reason of its own."""


class NotAuthenticatedError(RequestError, PermissionError):
    """A request does not say who asks, or says it with a token that does not hold."""


class NotAllowedError(RequestError, PermissionError):
    """The caller's role or project does not allow it."""


class TooManyAttemptsError(RequestError, PermissionError):
    """An address sent too many wrong tokens and must wait."""


class TooLargeError(RequestError):
    """A body is larger than the service takes."""


class SlowClientError(RequestError, TimeoutError):
    """A client stopped in the middle of a body."""


class ClientGoneError(RequestError, ConnectionError):
    """The client went before its turn came."""


class TokenNotFoundError(StoreError, LookupError):
    """The store has no such token."""


class TokenExistsError(StoreError, FileExistsError):
    """The store already has a token of that name."""


# -- the client -----------------------------------------------------------------------------


class ServiceNotReachableError(EmbedStoreError, ConnectionError):
    """No service answers at a URL, or what answers there is none of embedstore."""


class JobEndedError(EmbedStoreError, RuntimeError):
    """A job of a service was cancelled, or its server ended, before it was done."""


class OnlyAtStoreError(EmbedStoreError, NotImplementedError):
    """A call that works where the store's files are, and not over HTTP."""

    _terms_hold = "In Python, on that machine"
