"""Snakemake as a suite starts it: `python -m benchmarks.scheduler PARENT ARGUMENTS...`; it dies with its suite."""

import sys

from superinfo.orphans import die_with_parent


def main() -> None:
    """Run Snakemake's own command line."""
    parent, *arguments = sys.argv[1:]
    die_with_parent(int(parent))
    from snakemake.cli import main as snakemake

    snakemake(arguments)


if __name__ == "__main__":
    main()
