"""The `sparsec` command, its table of sub-commands, and what becomes of errors."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module

import click

from sparsec.cli.interrupt import interrupts_held
from sparsec.environment import DEBUG, read_environment
from sparsec.errors import SparsecError, UsageError

DONE, USERS_MISTAKE, BUG, PIPE_CLOSED = 0, 2, 70, 141

# Name, module in sparsec.cli, and the line in `sparsec --help` (kept here so that help loads no command).
COMMANDS: tuple[tuple[str, str, str], ...] = (
    ("compile", "compile", "Compile a model to an artifact, a library, a package for the web, or text."),
    ("run", "run", "Run a model or an artifact on given or random inputs."),
    ("verify", "verify", "Check a model against ONNX Runtime (or torch)."),
    ("benchmark", "benchmark", "Time a model, also against other engines."),
    ("explain", "explain", "Say what was chosen for each layer, and why."),
    ("tune", "tune", "Measure candidates on this machine, for better choices."),
    ("targets", "targets", "List the machines that can be compiled for; calibrate this one."),
    ("demo-web", "demo_web", "Serve a page that runs a model in the browser."),
    ("opt", "opt", "Run passes on MLIR text."),
)

EPILOG = """
\b
Examples:
  sparsec compile model.onnx -o model.sparsec --verify
  sparsec compile model.onnx --shape ids=1,128 --shape ids=8,128 --target cuda
  sparsec run model.sparsec --input image=photo.npy -o result.npz
  sparsec benchmark model.onnx --threads 1 --against onnxruntime
  sparsec explain model.sparsec --profile

\b
Environment:
  SPARSEC_DEBUG=1   the report, and tracebacks; 2 the IR after each pass; 3 the emitted code
  SPARSEC_DUMP=DIR  write the IR after each pass to DIR as NN-pass.mlir
  XDG_CACHE_HOME    its folder sparsec keeps calibrations, measurements and kernels for GPUs [default: ~/.cache]
"""


class _Commands(click.Group):
    """Loads the file of a command when it is named."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name for name, _, _ in COMMANDS]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        for name, module, _ in COMMANDS:
            if name == cmd_name:
                with interrupts_held():
                    command = import_module(f"sparsec.cli.{module}").command
                assert isinstance(command, click.Command)
                return command
        return None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, _, text in COMMANDS])


def _version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted:
        import sparsec

        click.echo(f"sparsec {sparsec.__version__}")
        ctx.exit()


@click.group(cls=_Commands, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Show the version and exit."
)
def sparsec() -> None:
    """Compile sparse neural networks into code for processors, GPUs and browsers that is faster because of their zeros.

    A MODEL is an ONNX file (.onnx, .onnx.gz) or an exported torch program (.pt2); an ARTIFACT is what `compile` writes.
    """


def run(arguments: Sequence[str] | None) -> int:
    """Run a command, those of this process by default, and return the exit code.

    Raises `KeyboardInterrupt` for Ctrl-C, and `ModuleNotFoundError` where packages are missing.
    """
    _open_standard_streams()
    try:
        code = sparsec.main(arguments, prog_name="sparsec", standalone_mode=False)
        sys.stdout.flush()
    except click.ClickException as error:
        error.show()
        return USERS_MISTAKE
    except click.Abort as error:  # what click makes of Ctrl-C
        raise KeyboardInterrupt from error
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the interpreter complains when it flushes
        return PIPE_CLOSED
    except SystemExit as end:  # with 1, which no command of ours returns so, click and rich exit when a pipe closes
        return PIPE_CLOSED if end.code == 1 else _code(end.code)
    except (SparsecError, OSError, MemoryError) as error:
        _show_traceback()
        click.echo(f"error: {_sentence(error)}", err=True)
        return USERS_MISTAKE
    except ModuleNotFoundError:
        _show_traceback()
        raise
    except Exception as error:
        return _bug(error)
    return _code(code)


def _open_standard_streams() -> None:
    """In the place of those that are closed: or else a file that is opened gets the number, and all that is printed."""
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(number)
    sys.stdin, sys.stdout, sys.stderr = (
        sys.stdin or os.fdopen(0),
        sys.stdout or os.fdopen(1, "w"),
        sys.stderr or os.fdopen(2, "w"),
    )


def _code(result: object) -> int:
    """What a command returned, as an exit code."""
    return result if isinstance(result, int) else DONE


def _sentence(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}." + (f"\n  where: {error.filename}" if error.filename else "")
    return f"There is not enough memory.\n  got: {error}" if isinstance(error, MemoryError) else str(error)


def _bug(error: Exception) -> int:
    click.echo(f"error: sparsec failed in a way that it should not: {type(error).__name__}: {error}", err=True)
    if not _show_traceback():
        click.echo(f"  try: {DEBUG}=1 shows where; please report it with that output", err=True)
    return BUG


def _show_traceback() -> bool:
    """Print the current traceback if the environment asks for it; says whether it did."""
    try:
        wanted = read_environment().debug > 0
    except UsageError:
        return False
    if wanted:
        traceback.print_exc()
    return wanted
