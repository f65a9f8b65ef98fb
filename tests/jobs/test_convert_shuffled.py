"""convert --seed: how a source larger than memory is read, and that a run keeps to it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from faceprep.core.types import Request, Share
from faceprep.jobs import convert as module
from faceprep.jobs.convert import Convert
from faceprep.run.engine import run_job
from faceprep.run.serial import SerialRunner
from faceprep.sets.containers import index_set
from faceprep.sets.recordio.framing import frame_image
from faceprep.sets.sample_spill import reads_fast
from faceprep.sets.sample_spill import write_spill as spill

N = 300


@pytest.fixture
def source(tmp_path: Path) -> Path:
    source = tmp_path / "set.rec"
    with source.open("wb") as rec, source.with_suffix(".idx").open("wb") as idx:
        for key in range(N):
            idx.write(b"%d\t%d\n" % (key, rec.tell()))
            data = b"P5 1 1 255\n%d" % key + bytes(50_000)
            rec.write(frame_image((key // 7,), data, key))
    return source


def is_slow(monkeypatch: pytest.MonkeyPatch, memory: int) -> None:
    """Pretend a memory of this size, and a disk that is slow at single reads."""
    monkeypatch.setattr(module, "usable_memory", lambda: memory)
    monkeypatch.setattr(module, "reads_fast", lambda images, order: False)
    monkeypatch.setattr(module, "_BATCH", 1 << 20)


def run(source: Path, output: Path, **request: Any) -> Any:
    asked = Request((source,), output, **request)
    return run_job(Convert(seed=3, shards=3), asked, SerialRunner())


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("out*")}


@pytest.mark.parametrize("change", ["more memory", "a faster disk"])
def test_a_run_keeps_the_passes_that_it_began_with(
    change: str, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be resumed on another machine, and several machines may share it."""
    run(source, tmp_path / "whole" / "out.tar")
    is_slow(monkeypatch, 1)
    output = tmp_path / "shared" / "out.tar"
    run(source, output, share=Share(1, 2))
    if change == "more memory":
        monkeypatch.setattr(module, "usable_memory", lambda: 1 << 60)
    else:
        monkeypatch.setattr(module, "reads_fast", lambda images, order: True)
    run(source, output, share=Share(2, 2))
    run(source, output, share=Share(1, 2))
    summary = run(source, output, joins=True)
    assert (summary.inputs, summary.ok) == (N, N)
    assert files(output.parent) == files(tmp_path / "whole")


def test_a_run_begun_afresh_chooses_anew(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "out.tar"
    is_slow(monkeypatch, 1)
    spilled: list[object] = []
    monkeypatch.setattr(
        module, "write_spill", lambda *given: spilled.append(given) or spill(*given)
    )
    run(source, output)
    n_spilled = len(spilled)
    assert n_spilled > 1
    monkeypatch.setattr(module, "usable_memory", lambda: 1 << 60)
    run(source, output, overwrite=True)
    assert len(spilled) == n_spilled


def test_reading_is_timed(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with index_set(source, tmp_path / "index") as images:
        order = module._shuffle(N, 1, 1)
        assert reads_fast(images, order)
        read = images.read

        def read_slowly(positions: Any) -> Any:
            for sample in read(positions):
                clock[0] += 0.01
                yield sample

        clock = [0.0]
        monkeypatch.setattr("faceprep.sets.sample_spill.time.monotonic", lambda: clock[0])
        monkeypatch.setattr(images, "read", read_slowly)
        assert not reads_fast(images, order), "5 MB a second"


@pytest.mark.parametrize("target", ["a.rec", "a.tar", "a.tfrecord", "a.parquet"])
def test_scattered_reads_are_announced(
    target: str, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system then fetches many at a time; reads in order need no such hint."""
    path = tmp_path / target
    run_job(Convert(), Request((source,), path), SerialRunner())
    announced: list[tuple[int, int]] = []

    def advise(fd: int, offset: int, n_bytes: int, advice: int) -> None:
        assert advice == os.POSIX_FADV_WILLNEED
        announced.append((offset, n_bytes))

    with index_set(path, tmp_path / "index") as images:
        monkeypatch.setattr(os, "posix_fadvise", advise)
        in_order = [bytes(sample.data) for sample in images.read(range(N))]
        assert not announced
        order = module._shuffle(N, 1, 1)[:40].tolist()
        found = [bytes(sample.data) for sample in images.read(order)]
    assert found == [in_order[position] for position in order]
    size, read = path.stat().st_size, sum(n_bytes for _, n_bytes in announced)
    assert all(0 <= offset < offset + n_bytes <= size for offset, n_bytes in announced)
    assert sum(map(len, found)) <= read < 1.1 * sum(map(len, found)), "the images alone"
