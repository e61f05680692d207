"""The verbs. A stage, and with it torch, is imported only when its verb runs."""

import errno
import io
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from superinfo.errors import Interrupted, SuperInfoError, UserError
from superinfo.repeat import RUNS, command_line

if TYPE_CHECKING:
    from results.table import Table

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Pretrain ResNet encoders, convert them to Detectron2, fine-tune detectors on them, probe them, compare.",
)

Runs = Annotated[Path, typer.Option(help="Folder that all runs lie in.")]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
Devices = Annotated[int, typer.Option(help="Processes, each with a GPU of its own; torchrun and srun decide.", min=1)]
Seed = Annotated[int, typer.Option(help="Seed of initialisation, order and noise.", min=0, max=2**32 - 1)]
Overrides = Annotated[list[str] | None, typer.Option("--set", help="Change a field of the recipe: a.b=value.")]

DISK_FULL = {errno.ENOSPC, errno.EDQUOT}
CTRL_C = 130
"""What Typer exits with when it is pressed."""


@app.command()
def pretrain(
    recipe: Annotated[str, typer.Argument(help="A recipe's name or YAML file.")],
    seed: Seed = 0,
    runs: Runs = RUNS,
    device: Device = "auto",
    devices: Devices = 1,
    overrides: Overrides = None,
) -> None:
    """Train an encoder; prints the path of its checkpoint.pt."""
    from pretrain.recipe import RECIPES, PretrainRecipe
    from superinfo.processes import is_main_process
    from superinfo.spec import load_recipe

    resolved = load_recipe(PretrainRecipe, recipe, RECIPES, overrides or ())
    from pretrain.engine import pretrain as run

    command = command_line("pretrain", recipe, (), seed, runs, overrides or ())
    checkpoint = run(resolved, seed, runs, device, devices, command=command)
    if is_main_process():
        print(checkpoint)


Layout = Annotated[
    str | None,
    typer.Option("--source", help="Who wrote the file, where it does not tell itself; module:NAME is one of yours."),
]
Branch = Annotated[str | None, typer.Option(help="online or target: the trained encoder, or its momentum one.")]
Facts = Annotated[
    list[str] | None,
    typer.Option("--set", help="What no file tells: stem, mean, std, channel_order, stride_in_1x1, prefix."),
]


@app.command()
def convert(
    checkpoint: Annotated[Path, typer.Argument(help="A checkpoint: torch, safetensors or a Detectron2 pickle.")],
    out: Annotated[Path, typer.Option(help="New folder for weights and evidence.")],
    to: Annotated[
        str, typer.Option(help="detectron2, detectron2-pth, torchvision, timm or safetensors.")
    ] = "detectron2",
    source: Layout = None,
    branch: Branch = None,
    flip_stem: Annotated[bool, typer.Option("--flip-stem", help="Turn an encoder for BGR into one for RGB.")] = False,
    facts: Facts = None,
) -> None:
    """Convert anyone's ResNet checkpoint for a detector or a library, and prove it; prints the folder."""
    from transfer.convert import convert as run
    from transfer.convert.reading import parse_branch, parse_facts

    given = parse_facts(facts or ())
    print(run(checkpoint, out, to, source=source, branch=parse_branch(branch), given=given, flip_stem=flip_stem))


@app.command()
def inspect(
    path: Annotated[Path, typer.Argument(help="A checkpoint, a converted folder, or a data root.")],
    source: Layout = None,
    branch: Branch = None,
    facts: Facts = None,
    json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Say what a checkpoint holds, and what it converts to; prove a converted folder again; tell if data are whole."""
    from superinfo.artifacts import CONVERSION

    if path.is_dir() and not (path / CONVERSION).is_file():
        from superinfo.datasets import roots

        root = roots.inspect_root(path)
        print(root.model_dump_json(indent=2) if json else roots.render(root))
        return
    from transfer.convert.inspection import inspect as run
    from transfer.convert.inspection import render
    from transfer.convert.reading import parse_branch, parse_facts

    found = run(path, source, parse_branch(branch), parse_facts(facts or ()))
    print(found.model_dump_json(indent=2) if json else render(found))


@app.command()
def detect(
    recipe: Annotated[str, typer.Argument(help="A recipe's name or YAML file.")],
    weights: Annotated[str, typer.Option(help="A folder that `superinfo convert` wrote, or `random`.")],
    seed: Seed = 0,
    runs: Runs = RUNS,
    device: Device = "auto",
    devices: Devices = 1,
    evaluate_only: Annotated[
        bool, typer.Option("--evaluate-only", help="Train nothing: score the detector of a finished run.")
    ] = False,
    overrides: Overrides = None,
) -> None:
    """Fine-tune and evaluate a detector; prints the path of its record.json."""
    from superinfo.spec import load_recipe
    from transfer.recipe import RECIPES, DetectRecipe

    resolved = load_recipe(DetectRecipe, recipe, RECIPES, overrides or ())
    from superinfo.processes import is_main_process
    from transfer.detection.detect import detect as run

    start = None if weights == "random" else Path(weights)
    inputs = ["--weights", weights, *(["--evaluate-only"] if evaluate_only else [])]
    command = command_line("detect", recipe, inputs, seed, runs, overrides or ())
    record = run(resolved, start, seed, runs, device, devices, evaluate_only=evaluate_only, command=command)
    if is_main_process():
        print(record)


@app.command()
def probe(
    recipe: Annotated[str, typer.Argument(help="A recipe's name or YAML file.")],
    checkpoint: Annotated[str, typer.Option(help="Anyone's checkpoint, as `convert` takes it, or `random`.")],
    seed: Seed = 0,
    runs: Runs = RUNS,
    device: Device = "auto",
    overrides: Overrides = None,
) -> None:
    """Measure what an encoder's features tell; prints the path of its record.json."""
    from superinfo.spec import load_recipe
    from transfer.probing.recipe import RECIPES, ProbeRecipe

    resolved = load_recipe(ProbeRecipe, recipe, RECIPES, overrides or ())
    from transfer.probing.probe import probe as run

    start = None if checkpoint == "random" else Path(checkpoint)
    command = command_line("probe", recipe, ["--checkpoint", checkpoint], seed, runs, overrides or ())
    print(run(resolved, start, seed, runs, device, command=command))


@app.command()
def predict(
    run: Annotated[Path, typer.Argument(help="The folder of a finished `superinfo detect`.")],
    images: Annotated[list[Path], typer.Argument(help="Images, or folders of images at any depth.")],
    out: Annotated[Path, typer.Option(help="New folder for predictions.json and pictures.")],
    score: Annotated[float, typer.Option(help="Draw what is at least this sure; the json has all.")] = 0.5,
    device: Device = "auto",
) -> None:
    """Show what a detector finds on new images; prints the path of a COCO json of it."""
    from transfer.detection.predict import predict as run_on

    print(run_on(run, images, out, score, device))


@app.command()
def bench(
    suite: Annotated[str, typer.Argument(help="A suite's name or YAML file.")],
    runs: Runs = RUNS,
    cores: Annotated[
        int | None, typer.Option(help="CPU cores that all jobs here share; on a cluster those of each.", min=1)
    ] = None,
    jobs: Annotated[
        int | None, typer.Option(help="Most jobs at once; by default one here, or one for each GPU.", min=1)
    ] = None,
    executor: Annotated[str, typer.Option(help="local, slurm or kubernetes.")] = "local",
    device: Device = "auto",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Run nothing: list the jobs, and what they take.")] = False,
    publish: Annotated[bool, typer.Option("--publish", help="Copy what is finished into results/records.")] = False,
) -> None:
    """Run a whole suite, or what is left of it; prints its tables and the folder of its outputs."""
    from benchmarks.bench import foresee_suite, run_suite
    from benchmarks.machine import describe_machine
    from benchmarks.suite import load_suite

    resolved, machine = load_suite(suite), describe_machine(executor, device, cores, jobs)
    if dry_run:
        print(foresee_suite(resolved, runs, machine))
        return
    benched = run_suite(resolved, runs, machine)
    if publish:
        from results.publish import RECORDS
        from results.publish import publish as publish_runs

        publish_runs(runs, RECORDS, benched.finished)
    from results.render import FORMATS

    print(FORMATS["terminal"](benched.tables), end="")
    print(benched.folder)
    for name, outcome in benched.failures.items():
        print(f"superinfo: {name}: {outcome.state}: {outcome.reason}", file=sys.stderr)
    if benched.failures:
        raise SuperInfoError(f"{resolved.name}: {len(benched.failures)} jobs did not end well; mend and run it again")


@app.command()
def table(
    name: Annotated[str | None, typer.Argument(help="A suite or a table of results/tables; or its YAML file.")] = None,
    records: Annotated[Path | None, typer.Option(help="Folder of records; without a name, all of them.")] = None,
    runs: Runs = RUNS,
    format: Annotated[str, typer.Option(help="terminal, md, csv, latex or html.")] = "terminal",
    against: Annotated[Path | None, typer.Option(help="Another folder: what moved since, and is it noise?")] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Print what is wrong with the committed tables, or with --records.")
    ] = False,
) -> None:
    """Print a comparison table, or those of all records in a folder; compare two folders; check."""
    from results.render import FORMATS

    if format not in FORMATS:
        raise UserError(f"--format {format}: choose {', '.join(FORMATS)}")
    if check:
        if name is not None or against is not None:
            raise UserError("table --check: takes no name and no --against; --records DIR checks another folder")
        _check(records)
        return
    if name is None and records is None:
        raise UserError("table: name a suite or a table, or give --records DIR")
    shown = _tables(name, records, runs)
    if against is not None:
        from results.against import compare_sets

        shown = compare_sets(shown, _tables(name, against, runs), (str(records or runs), str(against)))
    print(FORMATS[format](shown), end="")


def _tables(name: str | None, records: Path | None, runs: Path) -> "list[Table]":
    """Return the named table, or those of all records; where no folder of them is given, runs may be yet to come."""
    from results.leftovers import describe_unfinished, describe_unreadable
    from results.records import read_if_any, read_store
    from superinfo.progress import say

    store = read_if_any(runs) if records is None else read_store(records)
    for line in describe_unreadable(store):
        say(line)
    if name is not None:
        from benchmarks.tables import tables_by_name

        return tables_by_name(name, store)
    from results.tables import build_all

    for line in describe_unfinished(store):
        say(line)
    return build_all(store)


def _check(records: Path | None) -> None:
    from results.check import check_committed, check_records
    from results.publish import RECORDS
    from results.records import read_store

    store = read_store(records or RECORDS)
    findings = check_committed(store) if records is None else check_records(store)
    for finding in findings:
        print(finding)
    if findings:
        raise SuperInfoError(f"{len(findings)} findings in {len(store.runs)} records and their tables")
    print(f"{len(store.runs)} records and their tables: nothing found")


@app.command()
def report(
    records: Annotated[Path, typer.Option(help="Folder that records lie in, at any depth.")],
    out: Annotated[Path, typer.Option(help="HTML file to write: it needs no other file and no network.")],
    plots: Annotated[
        Path | None, typer.Option(help="Folder to write each plot to as well, as SVG and PDF for papers.")
    ] = None,
) -> None:
    """Write a page of all tables, plots and pictures, where each figure opens its records; prints its path."""
    from results.committed import tables_of
    from results.records import read_store
    from results.report import write_report

    if out.is_dir():
        raise UserError(f"--out {out}: a folder; name the file to write, such as {out / 'report.html'}")
    store = read_store(records)
    print(write_report(store, tables_of(store), out, plots))


def main() -> None:
    """Run a verb; turn what goes wrong into one line and an exit code."""
    if sys.platform != "linux":
        sys.exit("superinfo: runs on Linux alone; use a Linux machine, WSL or a container")
    _speak_utf8()
    # Detectron2 0.6 and fvcore use what newer torch deprecates; users can do nothing about it.
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"torch\.jit")
    debug = "--debug" in sys.argv
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    sys.exit(_guarded(lambda: app(arguments, standalone_mode=True), debug))


def _speak_utf8() -> None:
    """Write tables and paths as UTF-8 wherever they go; a terminal of fewer letters gets what it can show."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.isatty():
            stream.reconfigure(errors="backslashreplace")
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="surrogateescape")


def _guarded(run: Callable[[], object], debug: bool) -> int:
    try:
        run()
    except SuperInfoError as error:
        return _tell(error, str(error), error.exit_code, debug)
    except OSError as error:
        if error.errno in DISK_FULL:
            where = error.filename or "the runs folder"
            return _tell(error, f"{where}: the disk is full; free some space and run the same command again", 2, debug)
        where = f"{error.filename}: " if error.filename else ""
        return _tell(error, f"{where}{error.strerror or error}", 2, debug)
    except SystemExit as end:
        if end.code == CTRL_C:
            print("superinfo: interrupted; the same command resumes", file=sys.stderr)
            return Interrupted.exit_code
        raise
    return 0


def _tell(error: BaseException, message: str, code: int, debug: bool) -> int:
    if debug:
        raise error
    print(f"superinfo: {message}", file=sys.stderr)
    return code


if __name__ == "__main__":
    main()
