"""Images shown for a decision, and nothing else."""

from __future__ import annotations

import errno
import os
import shutil
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from faceprep.core import stores
from faceprep.core.errors import SourceError
from faceprep.core.types import Decision, Request
from faceprep.jobs.convert import Convert
from faceprep.jobs.review import Review
from faceprep.pages.review.gallery import Gallery
from faceprep.pages.review.thumbnails import make_thumbnail
from faceprep.run.engine import run_job
from faceprep.run.serial import SerialRunner
from tests.reviews import merge, save_plan, write_faces


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    write_faces(tmp_path / "faces", [5, 3])
    (tmp_path / "secret.jpg").write_bytes((tmp_path / "faces/person-0/0.jpg").read_bytes())
    return tmp_path / "faces"


def gallery(faces: Path, **judged: Any) -> Gallery:
    return Gallery({"source": str(faces)} | judged, faces.parent / "scratch", most=4)


def names(faces: Path, decision: Decision, **judged: Any) -> dict[str, tuple[list[str], int]]:
    strips = gallery(faces, **judged).strips(decision)
    return {role: (list(strip.names), strip.total) for role, strip in strips.items()}


def images(person: int, *numbers: int) -> list[str]:
    return [f"person-{person}/{number}.jpg" for number in numbers]


def test_merge(faces: Path) -> None:
    assert names(faces, merge(0, 1, 0.5)) == {
        "for": (["person-0/0.jpg", "person-1/0.jpg"], 2),
        "against": (["person-0/1.jpg", "person-1/1.jpg"], 2),
        "subject": (images(0, 0, 1, 2, 3), 5),
        "into": (images(1, 0, 1, 2), 3),
    }


def test_images_in_a_store(faces: Path) -> None:
    memory = pytest.importorskip("fsspec").filesystem("memory")
    memory.store.clear()
    memory.put(f"{faces}/", "/b/faces/", recursive=True)
    memory.pipe("/b/secret.jpg", (faces / "person-0/0.jpg").read_bytes())
    stores.forget_listings()
    decision = merge(0, 1, 0.5)
    with closing(gallery(faces, source="memory://b/faces")) as shown:
        assert shown.strips(decision) == gallery(faces).strips(decision)
        for name in ("person-0/0.jpg", "memory://b/faces/person-0/0.jpg"):
            place = shown.path_of(decision, "for", name)
            assert make_thumbnail(place) == make_thumbnail(str(faces / "person-0/0.jpg"))
        with pytest.raises(SourceError, match="lies outside"):
            shown.path_of(decision, "for", "../secret.jpg")
        with pytest.raises(SourceError, match="no such file"):
            shown.path_of(decision, "for", "person-0/9.jpg")


def test_drop_of_a_copy(faces: Path) -> None:
    decision = Decision(
        "drop", "person-0/4.jpg", evidence={"kept": "person-1/2.jpg", "likeness": 0.9}
    )
    found = names(faces, decision)
    assert found["lead"] == (["person-0/4.jpg", "person-1/2.jpg"], 2)
    assert set(found) == {"lead", "subject", "into"} and found["into"][0] == images(1, 0, 1, 2)
    within = decision._replace(evidence={"kept": "person-0/0.jpg"})
    assert set(names(faces, within)) == {"lead", "subject"}, "one identity is shown once"


def test_drop_of_an_identity_and_move(faces: Path) -> None:
    assert names(faces, Decision("drop", "person-1")) == {"subject": (images(1, 0, 1, 2), 3)}
    assert set(names(faces, Decision("move", "person-1/0.jpg", "person-0"))) == {
        "lead",
        "subject",
        "into",
    }
    assert names(faces, Decision("rename", "person-1/0.jpg", "x/0.jpg"))["lead"] == (
        images(1, 0),
        1,
    )


def test_images_in_the_source_itself(faces: Path) -> None:
    decision = Decision("drop", "a.jpg")
    os.rename(faces / "person-0/0.jpg", faces / "a.jpg")
    assert names(faces, decision) == {"lead": (["a.jpg"], 1), "subject": (["a.jpg"], 1)}
    assert gallery(faces).locate(decision, "subject", 0) == str(faces / "a.jpg")


def test_restored_from_its_origin_alone(faces: Path, tmp_path: Path) -> None:
    write_faces(tmp_path / "old", [1, 1, 1])
    decision = Decision("restore", "person-2/0.jpg", "person-2/0.jpg", evidence={"size": 1})
    shown = gallery(faces, origin=str(tmp_path / "old"))
    assert shown.locate(decision, "lead", 0) == str(tmp_path / "old/person-2/0.jpg")
    for subject in ("../secret.jpg", "../faces/person-0/0.jpg"):
        with pytest.raises(SourceError, match="outside"):
            shown.locate(decision._replace(subject=subject), "lead", 0)


@pytest.mark.parametrize("evidence", [1, [], ["a"], ["a", 1, 0.5], {"a": "b"}, None, [["a"], "b"]])
def test_evidence_that_is_none(evidence: object, faces: Path) -> None:
    assert set(names(faces, merge(0, 1, 0.5)._replace(evidence={"for": evidence}))) == {
        "subject",
        "into",
    }


@pytest.mark.parametrize(
    "name", ["../secret.jpg", "person-0/../../secret.jpg", "person-0/../../../etc/x.jpg"]
)
def test_outside_of_the_source(name: str, faces: Path) -> None:
    for decision, role in (
        (Decision("drop", name), "lead"),
        (Decision("drop", "person-0/0.jpg", evidence={"kept": name}), "lead"),
        (merge(0, 1, 0.5)._replace(evidence={"for": [name, name, 1]}), "for"),
    ):
        with pytest.raises(SourceError, match=r"outside|no such image"):
            gallery(faces).locate(decision, role, 1 if "kept" in decision.evidence else 0)


@pytest.mark.parametrize(
    "identity", ["..", "../..", "person-0/../..", "/etc", "/", "a\0b", "leads-out"]
)
def test_identity_outside_of_the_source(identity: str, faces: Path) -> None:
    (faces / "leads-out").symlink_to(faces.parent)
    assert names(faces, Decision("merge", identity, "person-1"))["subject"] == ([], 0)


def test_links(faces: Path) -> None:
    """Those within are followed, those that lead out are not."""
    (faces / "person-1/in.jpg").symlink_to(faces / "person-0/0.jpg")
    (faces / "person-1/out.jpg").symlink_to(faces.parent / "secret.jpg")
    (faces / "person-1/loop.jpg").symlink_to(faces / "person-1/loop.jpg")
    assert gallery(faces).locate(Decision("drop", "person-1/in.jpg"), "lead", 0) == str(
        faces / "person-0/0.jpg"
    )
    for name in ("out", "loop"):
        with pytest.raises(SourceError):
            gallery(faces).locate(Decision("drop", f"person-1/{name}.jpg"), "lead", 0)


def test_absolute_paths_are_those_that_the_plan_names(faces: Path) -> None:
    secret = str(faces.parent / "secret.jpg")
    decision = Decision("drop", "person-0/0.jpg", evidence={"kept": secret})
    assert gallery(faces).locate(decision, "lead", 1) == secret
    for other in ("/etc/passwd", secret.replace("secret", "none"), str(faces)):
        with pytest.raises(SourceError, match=r"not an image|no such file"):
            gallery(faces).locate(decision._replace(evidence={"kept": other}), "lead", 1)


@pytest.mark.parametrize(
    ("role", "place"), [("lead", 0), ("for", 2), ("subject", 4), ("into", -1), ("kept", 0)]
)
def test_no_such_picture(role: str, place: int, faces: Path) -> None:
    with pytest.raises(SourceError, match="no such image"):
        gallery(faces).locate(merge(0, 1, 0.5), role, place)


def test_plan_without_a_source(tmp_path: Path) -> None:
    empty = Gallery({}, tmp_path)
    assert empty.strips(merge(0, 1, 0.5))["subject"].names == []
    with pytest.raises(SourceError, match="does not name the folder"):
        empty.locate(merge(0, 1, 0.5), "for", 0)


@pytest.mark.parametrize("container", ["faces.tar", "faces.parquet", "faces.zip"])
def test_images_of_a_container(container: str, faces: Path, tmp_path: Path) -> None:
    path = tmp_path / container
    if path.suffix == ".zip":
        shutil.make_archive(str(tmp_path / "faces"), "zip", faces)
    else:
        run_job(Convert(), Request((faces,), path), SerialRunner())
    suffix = "" if path.suffix == ".tar" else ".jpg"
    drop = Decision("drop", f"person-0/4{suffix}", evidence={"kept": f"person-1/2{suffix}"})
    with closing(Gallery({"source": str(path)}, tmp_path / "scratch")) as found:
        strips = found.strips(drop)
        assert {role: strip.total for role, strip in strips.items()} == {
            "lead": 2,
            "subject": 5,
            "into": 3,
        }
        assert set(found.strips(Decision("drop", "person-0"))) == {"subject"}
        shown = make_thumbnail(found.locate(drop, "lead", 1))
        assert shown == make_thumbnail(str(faces / "person-1" / "2.jpg"))
        gone = drop._replace(subject="person-0/none")
        assert "lead" not in found.strips(gone)
        with pytest.raises(SourceError, match="no such image"):
            found.path_of(drop, "for", "person-0/none")


@pytest.mark.parametrize("is_absolute", [False, True])
def test_images_of_another_set_by_their_keys(
    is_absolute: bool, faces: Path, tmp_path: Path
) -> None:
    names = [str(path if is_absolute else path.relative_to(faces)) for path in faces.rglob("*.jpg")]
    rows = "".join(f"{name},0,somebody\n" for name in names)
    other = faces / "other.csv"
    other.write_text(f"image_names,image_classes,identity\n{rows}")
    pair = ["person-0/0.jpg", f"{other}/{names[1]}", 0.9]
    drop = Decision("drop", "person-0", evidence={"for": pair})
    with closing(Gallery({"source": str(faces)}, tmp_path / "scratch")) as found:
        assert make_thumbnail(found.locate(drop, "for", 1)) == make_thumbnail(str(faces / names[1]))
        with pytest.raises(SourceError, match=r"other\.csv: no such image: found none\.jpg"):
            found.path_of(drop, "for", f"{other}/none.jpg")


@pytest.mark.parametrize(
    ("call", "failing", "reason"),
    [
        ("stat", "person-0/0.jpg", "person-0/0.jpg: cannot look at: Input/output error"),
        ("scandir", "person-0", "person-0: cannot list: Input/output error"),
    ],
)
def test_a_fault_of_the_disk_is_named(
    faces: Path, monkeypatch: pytest.MonkeyPatch, call: str, failing: str, reason: str
) -> None:
    plan = save_plan(faces.parent / "plan.jsonl", faces, [merge(0, 1, 0.5)])
    real = getattr(os, call)

    def fail(path: Any, **options: Any) -> Any:
        if str(path).startswith(str(faces / failing)):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return real(path, **options)

    monkeypatch.setattr(os, call, fail)
    page = faces.parent / "no" / ".." / "page"
    reviewed = Review(static=page).serve(plan, lambda address: None)
    assert not page.parent.exists(), "the path leaves this folder again"
    found = reviewed.as_json()["pictures_left_out"]
    assert found["count"] == 1 and reason in found["such_as"][0]
