"""Errors of object stores as one sentence and a remedy, whichever package raised them."""

from __future__ import annotations

import errno
import sys

from faceprep.core.store_conditions import REFUSALS

EXTRAS = {"s3": "s3", "gs": "gcs", "gcs": "gcs", "az": "azure", "abfs": "azure"}
"""Extras with the packages for stores, by the beginning of a name."""
_ERRORS = (
    ("botocore.exceptions", "BotoCoreError"),
    ("botocore.exceptions", "ClientError"),
    ("aiohttp", "ClientError"),
    ("gcsfs.retry", "HttpError"),
    ("google.auth.exceptions", "GoogleAuthError"),
    ("azure.core.exceptions", "AzureError"),
)
"""Errors of the packages behind fsspec that are not OSErrors."""
_NO_CREDENTIALS = ("Credentials", "Token", "Auth", "Profile")
_NO_BUCKET = ("bucket", "container")
_BEYOND_END = ("range is not satisfiable", "range not satisfiable", "InvalidRange")
"""Words of the stores about a range that begins at or beyond the end of an object."""
_NO_SUCH_RANGE = 416
_LOG_IN = {
    "s3": "Set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; for a public bucket "
    "set FSSPEC_S3_ANON=true.",
    "gcs": "Set GOOGLE_APPLICATION_CREDENTIALS, or log in with gcloud; for a public bucket set "
    "FSSPEC_GS_TOKEN=anon.",
    "azure": "Set AZURE_STORAGE_CONNECTION_STRING, or AZURE_STORAGE_ACCOUNT_NAME and "
    "AZURE_STORAGE_ACCOUNT_KEY.",
}
"""What to do without credentials, by extra."""
_CHECK_NETWORK = {
    "s3": "Check the network and AWS_ENDPOINT_URL",
    "gcs": "Check the network and STORAGE_EMULATOR_HOST",
    "azure": "Check the network and the name of the account",
}


class StoreError(OSError):
    """An error of a store: `reason` in one line, and what to do.

    `errno` is the number of the same error on a disk, so EIO where a later start may succeed.
    """

    def __init__(self, number: int, reason: str, remedy: str) -> None:
        super().__init__(number, reason)
        self.reason, self.remedy = reason, remedy


def package_errors() -> tuple[type[Exception], ...]:
    """Return the errors of requests, of the packages that are loaded."""
    others = (getattr(sys.modules.get(module), name, None) for module, name in _ERRORS)
    return (OSError, *filter(None, others))


def missing_object() -> StoreError:
    """Return the error of a name that a store does not have."""
    return StoreError(errno.ENOENT, "no such object or prefix", "Check the path.")


def missing_bucket(bucket: str = "") -> StoreError:
    """Return the error of a bucket that does not exist."""
    problem = "no such bucket"
    if bucket:
        problem += f": {bucket}"
    return StoreError(errno.ENOENT, problem, "Check its name, and the account.")


def explain(error: Exception, scheme: str) -> StoreError:
    """Return the error of a request to a store as a StoreError."""
    if isinstance(error, StoreError):
        return error
    text = " ".join(str(error).split()) or type(error).__name__
    extra = EXTRAS.get(scheme, "s3")
    found = _explain_verdict(error, text)
    if found is not None:
        return found
    if any(word in type(error).__name__ for word in _NO_CREDENTIALS):
        problem = f"no valid credentials for the store ({text})"
        return StoreError(errno.EACCES, problem, _LOG_IN[extra])
    if isinstance(error, PermissionError) or _status(error) in (401, 403) or "Forbidden" in text:
        remedy = f"Check your access rights. {_LOG_IN[extra]}"
        return StoreError(errno.EACCES, f"the store refuses access ({text})", remedy)
    remedy = f"{_CHECK_NETWORK[extra]}, then start the same command again."
    return StoreError(errno.EIO, f"the store does not answer properly ({text})", remedy)


def _explain_verdict(error: Exception, text: str) -> StoreError | None:
    """Return what the store has said about the name or its condition, None for anything else."""
    if isinstance(error, FileNotFoundError) or "ResourceNotFound" in type(error).__name__:
        if any(word in text for word in _NO_BUCKET):
            return missing_bucket()
        return missing_object()
    if isinstance(error, FileExistsError) or any(words in text for words in REFUSALS):
        return StoreError(errno.EEXIST, "the object has changed", "Start again.")
    if _status(error) == _NO_SUCH_RANGE or any(words in text for words in _BEYOND_END):
        return StoreError(errno.ERANGE, "the object ends before the range", "Start again.")
    if isinstance(error, NotADirectoryError | IsADirectoryError):
        return StoreError(error.errno or errno.EISDIR, text, "Check the path.")
    return None


def _status(error: Exception) -> int:
    """Return the HTTP status of an error, 0 where it has none."""
    found = str(getattr(error, "status_code", None) or getattr(error, "code", None))
    return int(found) if found.isdigit() else 0


def no_credentials(error: Exception, scheme: str) -> StoreError:
    """Return the error of a store that cannot be opened as no credentials are set."""
    extra = EXTRAS.get(scheme, "s3")
    problem = f"no valid credentials for the store ({error})"
    return StoreError(errno.EACCES, problem, _LOG_IN[extra])
