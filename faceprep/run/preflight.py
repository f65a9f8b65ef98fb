"""Checks before a run writes anything. Each refusal says what was found and what to do."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from faceprep import __version__
from faceprep.core import disk_space, input_faults, registry, storage
from faceprep.core.errors import OptionError, OutputError, ResumeError
from faceprep.core.names import suffix_of
from faceprep.core.os_errors import missing_source
from faceprep.core.output_tree import is_within, refuse_overlap
from faceprep.core.paths import exists, is_folder, is_present, real_path
from faceprep.core.text import format_bytes, list_words
from faceprep.core.types import Request, Shard, Share, Stage, Work
from faceprep.run import planning

_CONTAINERS = tuple(
    suffix
    for entry in registry.CONTAINERS.values()
    for suffix in entry.suffixes
    if entry.in_folders and suffix != ".parquet"  # a table may lie beside images
)
_SET_FILES = tuple(suffix for entry in registry.CONTAINERS.values() for suffix in entry.suffixes)
_AFRESH = "Use the same options to resume, another output, or --overwrite to start again."
_AGAIN_TOGETHER = "To start again, remove the output, then start all processes."


def refuse_bad_places(request: Request, folders: Sequence[Path], in_place: bool = False) -> None:
    """Refuse a missing source, and an output or one of its `folders` over or in a source.

    A .rec and the like in a folder do not forbid the rest of that folder.
    `in_place` allows an output that replaces its source.
    """
    storage.look_anew()
    storage.refuse_store(request.output)
    for source in request.sources:
        if not exists(source):
            raise missing_source(source)
        if not in_place:
            is_inside = is_within(real_path(request.output), real_path(source))
            is_walked = not is_inside or not is_folder(source) or not _is_container(source)
            refuse_overlap(source, request.output, folders, is_walked)
    if folders:
        _refuse_file_name(request.output)


def _is_container(folder: Path) -> bool:
    """Return whether a folder holds a set in a few files, so that its other files are no inputs."""
    return any(suffix_of(name) in _CONTAINERS for name in storage.list_folder(folder)[1])


def _refuse_file_name(output: Path) -> None:
    """Refuse the name of a container for a folder that is yet to be made."""
    if suffix_of(output.name) in _SET_FILES and not is_folder(output):
        raise OutputError(
            "this command writes a folder",
            path=output,
            expected="the name of a folder",
            found=f"the name of a {suffix_of(output.name)} file",
            remedy="Name a folder; faceprep convert turns it into other sets.",
        )


def refuse_closed_places(folders: Sequence[Path]) -> None:
    """Refuse folders that cannot be made or written in."""
    for folder in folders:
        nearest = next(each for each in (folder, *folder.parents) if is_present(each))
        if not is_folder(nearest):
            raise OutputError(
                "a file is in the way", path=folder, expected="a folder", found=f"{nearest}, a file"
            )
        if not os.access(nearest, os.W_OK | os.X_OK):
            problem = "Permission denied: no file or folder can be made in it"
            raise OutputError(problem, path=nearest, remedy="Choose another output.")


def refuse_linked_state(folders: Sequence[Path]) -> None:
    """Refuse state that is a link: what a run removes there may belong to somebody else."""
    for folder in folders:
        if folder.is_symlink():
            raise OutputError(
                "the state of the run is a link",
                path=folder,
                expected="a folder",
                remedy="Remove the link, or choose another output.",
            )


def refuse_other_run(before: Mapping[str, Any], now: Mapping[str, Any], request: Request) -> None:
    """Refuse a run that began with another command, other sources or other options."""
    output, is_shared = request.output, request.share is not None
    if not before:
        raise ResumeError(
            "the state of the earlier run is damaged",
            path=output,
            remedy=_AGAIN_TOGETHER if is_shared else "Start again with --overwrite.",
        )
    then_options, now_options = before.get("options", {}), now["options"]
    differences = [
        f"{name} {_said(before.get(name))} then, {_said(now[name])} now"
        for name in ("command", "sources")
        if before.get(name) != now[name]
    ]
    has_same_command = before.get("command") == now["command"]
    differences += [
        f"--{name.replace('_', '-')} {_said(then_options.get(name))} then, {_said(value)} now"
        for name, value in now_options.items()
        if has_same_command and then_options.get(name) != value
    ]
    remedy = _AFRESH
    if is_shared:
        remedy = f"Use the same options to resume, or another output. {_AGAIN_TOGETHER}"
    elif not has_same_command:
        remedy = (
            "Use another output, or --overwrite, which removes what "
            f"{before.get('command')} wrote there."
        )
    if differences:
        raise ResumeError(
            f"this output was begun differently ({'; '.join(differences)})",
            path=output,
            remedy=remedy,
        )


def _said(value: Any) -> str:
    """Return the value of an option as a user would write it.

    >>> _said(None), _said([]), _said(True), _said(0.9), _said(["a", "b"])
    ('not given', 'not given', 'on', '0.9', "'a', 'b'")
    """
    if isinstance(value, list) and value:
        return ", ".join(map(repr, value))
    if isinstance(value, bool):
        return "on" if value else "off"
    return "not given" if value in (None, "", []) else repr(value)


def refuse_bad_share(request: Request, in_place: bool) -> None:
    """Refuse a share of a run that cannot be shared."""
    share = request.share
    if share is None:
        return
    if not 1 <= share.number <= share.n:
        raise OptionError(
            "--shard", expected=f"1/{share.n} to {share.n}/{share.n}", found=f"{share}"
        )
    if request.overwrite:
        raise OptionError("--shard and --overwrite exclude each other", remedy=_AGAIN_TOGETHER)
    if in_place:
        raise OptionError("--shard: an output that replaces its input cannot be shared")


def refuse_other_version(before: Mapping[str, Any], request: Request) -> None:
    """Refuse to carry out anything of a run that another version began.

    Its results would mix those of two versions.
    """
    if before.get("faceprep") == __version__:
        return
    is_shared = request.share is not None or request.joins
    remedy = "Resume with that version, or start again with --overwrite."
    problem = "this run was begun by another version"
    if before.get("finished"):
        problem = (
            "failed inputs or lost files of this finished run are to be made again, but it was "
            "begun by another version"
        )
    raise ResumeError(
        problem,
        path=request.output,
        expected=f"faceprep {before.get('faceprep')}",
        found=f"faceprep {__version__}",
        remedy="Use one version in all processes." if is_shared else remedy,
    )


def refuse_unfinished(before: Mapping[str, Any], request: Request) -> None:
    """Refuse to resume a run of another version, or to share it with another number of processes.

    A finished run may be of another version: nothing of it is left to do.
    """
    if request.share is not None or request.joins or not before.get("finished"):
        refuse_other_version(before, request)
    if request.share is not None:
        refuse_other_number(before, request.share, request.output)


def refuse_other_number(before: Mapping[str, Any], share: Share, output: Path) -> None:
    """Refuse to share a run with another number of processes than it began with."""
    n = before.get("shares", share.n)
    if n != share.n:
        raise ResumeError(
            "this run is shared by a different number of processes",
            path=output,
            expected=f"--shard {min(share.number, n)}/{n}",
            found=f"--shard {share}",
            remedy="Start all processes with the same number, or remove the output first.",
        )


def refuse_missing_shares(
    before: Mapping[str, Any],
    stage: Stage,
    find_unfinished: Callable[[Sequence[Shard]], set[str]],
    output: Path,
) -> None:
    """Refuse to join a run before the processes that share it have done its first stage."""
    n = before.get("shares") or 1
    unfinished = find_unfinished(stage.shards)
    missing = [
        str(share)
        for share in (Share(number, n) for number in range(1, n + 1))
        if any(shard.id in unfinished for shard in share.take(stage.shards))
    ]
    if missing:
        verb, which = ("is", "it") if len(missing) == 1 else ("are", "them")
        raise ResumeError(
            f"cannot be joined yet: --shard {list_words(missing)} {verb} not done",
            path=output,
            remedy=f"Start {which} again with the same options, then finish.",
        )


def refuse_changed_input(before: Mapping[str, Any], now: Mapping[str, Any], output: Path) -> None:
    """Refuse an input that has changed since the run began, or is now cut into other shards.

    What cannot be looked at may be as it was.
    """
    known = before.get(planning.UNREAD) or {}
    for path, number in now.get(planning.UNREAD, {}).items():
        if path not in known:
            raise input_faults.error_of(path, number)
    if before.get("fingerprint") != now["fingerprint"]:
        expected, found = _differing_parts(str(before.get("fingerprint")), now["fingerprint"])
        raise ResumeError(
            "the input has changed since this run began",
            path=output,
            expected=expected,
            found=found,
            remedy="Put it back, choose another output, or start again with --overwrite.",
        )
    if before.get("shards") != now["shards"]:
        raise ResumeError(
            "this run was begun by a version that cuts the work into other shards",
            path=output,
            expected=f"faceprep {before.get('faceprep')}",
            found=f"faceprep {now['faceprep']}",
            remedy="Resume with that version, or start again with --overwrite.",
        )


def _differing_parts(before: str, now: str) -> tuple[str, str]:
    """Return the parts of two fingerprints that differ, or all of them where the number does.

    >>> _differing_parts("16 images, times 3a, plan 9e", "16 images, times 3a, plan 66")
    ('plan 9e', 'plan 66')
    """
    parts, now_parts = before.split(", "), now.split(", ")
    if len(parts) != len(now_parts):
        return before, now
    pairs = zip(parts, now_parts, strict=True)
    changed = [pair for pair in pairs if pair[0] != pair[1]]
    return ", ".join(old for old, _ in changed), ", ".join(new for _, new in changed)


def refuse_what_cannot_fit(work: Work, left: float, root: Path) -> None:
    """Refuse work that needs more bytes or files than are free.

    `left` is the share of the work that will lie on this disk.
    """
    n_files, n_bytes = int(work.n_files * left), int((work.n_bytes + work.n_part_bytes) * left)
    free_bytes, free_inodes, block = disk_space.free_space(root)
    needed = n_bytes + n_files * block // 2
    remedy = "Free some, choose another disk, or use --limit."
    if needed > free_bytes:
        raise OutputError(
            "not enough space",
            path=root,
            expected=f"{format_bytes(needed)} free ({format_bytes(n_bytes)} of data + {n_files:,} "
            f"files × half a block of {block:,} bytes)",
            found=format_bytes(free_bytes),
            remedy=remedy,
        )
    if free_inodes is not None and n_files > free_inodes:
        raise OutputError(
            "the file system cannot hold so many files",
            path=root,
            expected=f"{n_files:,} free inodes",
            found=f"{free_inodes:,}",
            remedy=remedy,
        )
