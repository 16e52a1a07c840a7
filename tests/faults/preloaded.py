"""What the commands import; loaded once, in the process that the fault tests fork their commands from."""

import importlib

for _name in (
    "torch", "cli.main", "cli.compact", "cli.fit_head", "cli.index", "cli.ingest", "cli.label", "cli.map",
    "cli.predict", "cli.rm", "actors.ingest", "actors.cluster", "embedstore.api", "embedstore.extractors.builtin",
    "embedstore.extractors.networks.network", "embedstore.extractors.torch_runtime", "embedstore.labels",
    "embedstore.maps", "embedstore.search", "heads.training", "heads.evaluation", "lancedb", "optax",
):  # fmt: skip
    try:
        importlib.import_module(_name)
    except ImportError:  # an extra that is not installed
        continue
