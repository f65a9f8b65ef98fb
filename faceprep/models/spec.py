"""Model specs: one word that names a model and the preprocessing of its crops.

dlib-resnet                                                  a model that comes with a package
insightface:buffalo_l                                        a pack
net.tflite:mean=127.5,std=128,size=112                       a file
net.onnx:crops=arcface-128,mean=123.7/116.3/103.5,flip=true  three numbers are R/G/B
spoof.onnx:crops=box1.5-256,read=softmax/1,name=spoof        a model that `score` runs

Settings begin at the first colon that a word and an equals sign follow, so that names may hold
colons and commas.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from faceprep.core.errors import OptionError
from faceprep.models.files.preparation import COLORS, InputOptions

EMBEDDER_SETTINGS = (*InputOptions._fields, "flip")
SCORER_SETTINGS = (*InputOptions._fields, "read", "name")
_START = re.compile(r":(?=[a-z]+=)")
_SIZE = re.compile(r"([1-9]\d{0,3})(?:x([1-9]\d{0,3}))?", re.ASCII)
_FLAGS = {"true": True, "false": False}


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """A model and the settings that its spec states; what it does not state is None or empty.

    `read` and `name` are for scorers, `flip` for embedders.
    """

    model: str
    input_options: InputOptions = InputOptions()
    flip: bool | None = None
    read: str = ""
    name: str = ""


def parse_spec(text: str, allowed: Sequence[str]) -> ModelSpec:
    """Parse a model spec with the `allowed` settings. Raises OptionError.

    >>> parse_spec("model-r100,0:mean=1/2/3,size=112x96", EMBEDDER_SETTINGS).input_options.mean
    (1.0, 2.0, 3.0)
    >>> parse_spec("insightface:buffalo_l", EMBEDDER_SETTINGS).model
    'insightface:buffalo_l'
    """
    model, *rest = _START.split(text, maxsplit=1)
    settings: dict[str, str] = {}
    for part in (word for words in rest for word in words.split(",")):
        key, equals, value = part.partition("=")
        if key not in allowed or not equals or not value:
            expected = "SETTING=VALUE with one of " + ", ".join(allowed)
            raise OptionError(f"model spec {text!r}", expected=expected, found=repr(part))
        if key in settings:
            raise OptionError(f"model spec {text!r}", expected=f"{key}= once", found="it twice")
        settings[key] = value
    parsed: dict[str, Any] = {key: _parse_value(key, each) for key, each in settings.items()}
    given = {key: parsed.pop(key) for key in InputOptions._fields if key in parsed}
    return ModelSpec(model, InputOptions(**given), **parsed)


def _parse_value(key: str, value: str) -> object:
    if key in ("mean", "std"):
        return parse_numbers(f"{key}=", value, "/")
    if key == "size":
        return parse_size("size=", value)
    if key == "color" and value not in COLORS:
        raise OptionError("color=", expected=" or ".join(COLORS), found=repr(value))
    if key == "flip":
        if value not in _FLAGS:
            raise OptionError("flip=", expected=" or ".join(_FLAGS), found=repr(value))
        return _FLAGS[value]
    return value


def parse_numbers(option: str, text: str, separator: str = ",") -> tuple[float, ...]:
    """Parse one number, or three in the order R, G, B. Raises OptionError.

    >>> parse_numbers("--mean", "1,2,3")
    (1.0, 2.0, 3.0)
    """
    try:
        numbers = tuple(float(number) for number in text.split(separator))
    except ValueError:
        numbers = ()
    if len(numbers) not in (1, 3) or not np.isfinite(numbers).all():
        expected = f"a number, or three: {separator.join('RGB')}"
        raise OptionError(option, expected=expected, found=repr(text))
    return numbers


def parse_size(option: str, text: str) -> tuple[int, int]:
    """Parse (height, width) in pixels from 112 or 112x96. Raises OptionError.

    >>> parse_size("--size", "112x96")
    (112, 96)
    """
    match = _SIZE.fullmatch(text)
    if not match:
        expected = "pixels, such as 112 or 112x96 (height, width)"
        raise OptionError(option, expected=expected, found=repr(text))
    return int(match[1]), int(match[2] or match[1])
