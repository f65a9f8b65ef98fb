"""Fuzz one parser, led by the coverage of the code: atheris, which is libFuzzer for Python.

pip install atheris                                         needs Python 3.11
python -m tests.fuzz.coverage parquet /tmp/corpus --seconds 3600

Inputs that reach new code go to the corpus, one that fails to a file beside it.
"""

from __future__ import annotations

import logging
import sys
import tempfile
from pathlib import Path

import click


@click.command()
@click.argument("target")
@click.argument("corpus", type=click.Path(path_type=Path))
@click.option("--seconds", default=60, show_default=True, help="Fuzz for so long.")
def main(target: str, corpus: Path, seconds: int) -> None:
    """Fuzz TARGET, with its seeds and the inputs in CORPUS."""
    try:
        import atheris
    except ImportError as error:
        raise click.ClickException("pip install atheris") from error
    with atheris.instrument_imports(include=["faceprep"]):
        from tests.fuzz.targets import Trial
    logging.disable()
    trial = Trial(target, Path(tempfile.mkdtemp()))
    corpus.mkdir(parents=True, exist_ok=True)
    for number, data in enumerate(trial.seeds):
        (corpus / f"seed{number}").write_bytes(data)

    def try_input(data: bytes) -> None:
        if problem := trial.try_input(data):
            raise AssertionError(problem)

    options = [f"-max_total_time={seconds}", f"-artifact_prefix={corpus}-", "-timeout=20"]
    atheris.Setup([sys.argv[0], *options, str(corpus)], try_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
