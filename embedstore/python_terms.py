"""The Python terms of messages that name flags and commands: `--folds 3` is `split={'folds': 3}`."""

import re

#: {command: its call, with a place for keywords}; the longest that a message begins with counts.
CALLS = {
    "compact": "store.compact({})",
    "encode-slides": "collection.encode_slides({})",
    "encode-slides --list": "embedstore.encoders.published_encoders()",
    "evaluate": "store.evaluate({})",
    "export": "store.export({})",
    "export --layout": "store.export_layout({})",
    "extractors": "embedstore.list_extractors()",
    "fit-augmenter": "store.fit_augmenter({})",
    "fit-head": "store.fit_head({})",
    "heads": "store.heads",
    "import": "store.import_features({})",
    "index": "collection.update_index({})",
    "ingest": "store.ingest({})",
    "ingest --dry-run": "store.estimate_ingest({})",
    "label export": "store.labels.export({})",
    "label export --format": "store.labels.export_benchmark({})",
    "label history": "store.labels.history({})",
    "label import": "store.labels.read({})",
    "label ls": "store.labels",
    "label undo": "store.labels.undo({})",
    "ls": "store.collections",
    "ls --tiles": "collection.tiles()",
    "map": "collection.make_map({})",
    "predict": "head.predict({})",
    "rm": "store.remove({})",
    "rm --collection": "store.remove_collection({})",
    "rm --encoding": "collection.remove_encoding({})",
    "rm --views": "store.remove_views(collection)",
    "rm --column": "store.remove_columns({})",
    "select-extractor": "store.select_extractor({})",
    "show": "store.slides",
    "status": "store.status",
    "token": "store.tokens",
    "token create": "store.tokens.create({})",
    "token ls": "store.tokens.table",
    "token revoke": "store.tokens.revoke(name)",
    "zero-shot": "store.zero_shot_head({})",
}
#: Flags that choose another call, and are no argument of it.
CHOOSE = ("dry-run", "list", "tiles")
#: What a call takes first.
POSITIONAL = {
    "export": "path",
    "export --layout": "folder",
    "fit-head": "task",
    "import": "folder",
    "ingest": "slides",
    "ingest --dry-run": "slides",
    "label export": "out",
    "label export --format": "out",
    "label import": "files",
    "zero-shot": "task, classes",
}
#: {flag: the keyword whose dictionary has it}; other flags are keywords themselves.
SECTIONS = {
    "address": "execution",
    "batch-tiles": "run",
    "device": "execution",
    "folds": "split",
    "group-by": "split",
    "in-process": "execution",
    "mask-origin": "tissue",
    "max-extractors": "run",
    "max-unreadable": "reading",
    "min-extractors": "run",
    "min-tissue": "tiling",
    "ray": "execution",
    "reader": "reading",
    "split": "split",
    "split-file": "split",
    "tissue": "tissue",
}
NAMES = {
    "class": "of_class",
    "encoding": "encoder",
    "out": "path",
    "split": "kind",
    "split-file": "file",
    "tissue": "method",
}
SWITCHES = (
    "in-process",
    "insecure",
    "keep-seen",
    "merge",
    "replace",
    "retry-failed",
    "same-extractor",
    "skip-invalid",
    "skip-unknown-slides",
    "trust-extractor",
)
#: {flag that leaves something out: the keyword that is False}.
OFF = {"no-access-log": "access_log"}
LISTS = {"column": "columns", "force": "force", "leave-out": "leave_out", "slide": "slides"}
#: Flags that a call in Python has no need of: its object knows them.
IMPLIED = ("head", "store", "task", "tiles")
_COMMAND = r"`embedstore ([a-z-]+(?: (?:import|export|ls|history|undo|create|revoke)\b)?)([^`]*)`"
_VALUES = "all|bounds|cpu|flat|holdout|ivf_rq|kfold|level0|none|openslide|random|slide"
_FLAG = rf"--([a-z][a-z0-9-]*)(?: (\d[\d.]*\d|\d|[A-Z]{{2,}}|(?:{_VALUES})\b))?"


def python_terms(message: str) -> str:
    """What the flags and commands of a message are in Python; "" where it names none."""
    terms = []
    for command, rest in re.findall(_COMMAND, message):
        special = (f"{command} {flag}" for flag in re.findall(r"--[a-z-]+", rest))
        command = next(filter(CALLS.__contains__, special), command)
        call = CALLS.get(command)
        if call is not None:
            own = command.partition(" --")[2]  # the flag that chose this call, unless it is an argument of it
            implied = [*IMPLIED, *["collection"] * call.startswith("collection."), *[own] * (own in CHOOSE)]
            keywords = [_keyword(*flag) for flag in re.findall(_FLAG, rest) if flag[0] not in implied]
            if "--store" in rest:
                call = re.sub(r"^store\.", "embedstore.create(path).", call)
            terms.append(call.format(", ".join([*filter(None, [POSITIONAL.get(command)]), *keywords])))
    for flag, value in re.findall(_FLAG, re.sub("`[^`]*`", "", message)):
        if flag == "slide":
            terms.append("slide=… or slides=[…]")
        elif flag != "store":
            terms.append(_keyword(flag, value))
    return "; ".join(dict.fromkeys(terms))


def _keyword(flag: str, text: str) -> str:
    name = NAMES.get(flag, flag.replace("-", "_"))
    if flag in OFF:
        return f"{OFF[flag]}=False"
    if flag in SWITCHES:
        value = "True"
    elif not text or text.isupper():
        value = "…"
    else:
        value = text if text[0].isdigit() else repr(text)
    if flag == "weights":
        return f"ExtractorConfig(ref=…, weights={value})"
    if flag in LISTS:
        return f"{LISTS[flag]}=[{value}]"
    return f"{SECTIONS[flag]}={{{name!r}: {value}}}" if flag in SECTIONS else f"{name}={value}"
