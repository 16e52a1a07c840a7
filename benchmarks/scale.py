"""How embedstore grows past one machine and past a million tiles: a module for each question, with rows of results.

    python benchmarks/scale.py commits [--writers 1 2 4 8] [--commits 40] [--store FOLDER|URI]
    python benchmarks/scale.py nodes SLIDE... [--nodes 1 2 4] [--pace 0 40]
    python benchmarks/scale.py store --work FOLDER [--rows 100000 1000000 10000000]
    python benchmarks/scale.py cost [--gpu-hour 4] [--core-hour 0.04]

`commits`: commits per second by concurrent writers. `nodes`: tiles per second with 1, 2 and 4 simulated nodes. `store`:
what every command takes at up to 10 million tiles. `cost`: a million tiles by a price list, from measured speeds.
"""

import argparse
import os

import scale_commits
import scale_cost
import scale_nodes
import scale_store

SUBCOMMANDS = {"commits": scale_commits, "nodes": scale_nodes, "store": scale_store, "cost": scale_cost}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, module in SUBCOMMANDS.items():
        help_text = (module.__doc__ or "").partition("\n")[0]
        module.arguments(commands.add_parser(name, help=help_text))
    args = parser.parse_args()
    os.environ.setdefault("LANCE_LOG", "error")  # as the command line does
    SUBCOMMANDS[args.command].run(args)


if __name__ == "__main__":
    main()
