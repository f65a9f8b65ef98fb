"""Conditional puts, the only operation for which the kinds of stores differ.

Each function puts an object if there is none yet or, with a `tag`, if it is still the one with that
tag. It returns the tag of the new object. A store that refuses raises the error of its package.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

_MARK = "==faceprep=="
"""Boundary between the parts of a multipart request; pages and leases are JSON and words."""


def _put_on_s3(store: Any, key: str, data: bytes, tag: str) -> str:
    bucket, _, name = key.partition("/")
    condition = {"IfNoneMatch": "*"}
    if tag:
        condition = {"IfMatch": tag}
    answer = store.call_s3("put_object", Bucket=bucket, Key=name, Body=data, **condition)
    return str(answer["ETag"])


def _put_on_gcs(store: Any, key: str, data: bytes, tag: str) -> str:
    """Put an object on the condition of its generation; 0 stands for no object."""
    bucket, _, name = key.partition("/")
    about = json.dumps({"name": name})
    head = f"--{_MARK}\nContent-Type: application/json; charset=UTF-8\n\n{about}\n--{_MARK}\n"
    body = head.encode() + b"Content-Type: application/octet-stream\n\n" + data
    answer = store.call(
        "POST",
        f"{store._location}/upload/storage/v1/b/{bucket}/o",
        uploadType="multipart",
        ifGenerationMatch=tag or "0",
        headers={"Content-Type": f'multipart/related; boundary="{_MARK}"'},
        data=body + f"\n--{_MARK}--".encode(),
        json_out=True,
    )
    return str(answer["generation"])


def _put_on_azure(store: Any, key: str, data: bytes, tag: str) -> str:
    from azure.core import MatchConditions

    condition: dict[str, Any] = {"overwrite": False}
    if tag:
        condition = {"etag": f'"{tag}"', "match_condition": MatchConditions.IfNotModified}
    return str(store.pipe_file(key, data, **condition)["etag"])


PUT_IF: dict[str, Callable[[Any, str, bytes, str], str]] = {
    "s3": _put_on_s3,
    "gs": _put_on_gcs,
    "gcs": _put_on_gcs,
    "az": _put_on_azure,
    "abfs": _put_on_azure,
}
"""Stores that outputs are written to, by the beginning of a name."""
REFUSALS = ("pre-conditions you specified", "condition specified using HTTP")
"""Words in the errors of some stores when a condition fails; others raise FileExistsError."""
