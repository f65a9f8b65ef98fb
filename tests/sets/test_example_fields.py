"""Places in an example: the same values as decoding gives, and no other error than Malformed."""

from __future__ import annotations

from contextlib import suppress

from hypothesis import given
from hypothesis import strategies as st

from faceprep.sets import tfrecord
from faceprep.sets.example_fields import find_features, find_value
from faceprep.sets.protobuf import Malformed

FEATURES = st.dictionaries(
    st.text(st.characters(codec="utf-8"), max_size=8),
    st.binary(max_size=300) | st.integers(-(1 << 63), (1 << 63) - 1),
    max_size=5,
)


@given(features=FEATURES, before=st.binary(max_size=9), after=st.binary(max_size=9))
def test_places_hold_what_decoding_gives(
    features: dict[str, bytes | int], before: bytes, after: bytes
) -> None:
    example = tfrecord.encode_example(features)
    data = before + example + after
    found = find_features(data, len(before), len(before) + len(example))
    assert {
        name.decode(): tfrecord.decode_feature(data[slice(*span)]) for name, span in found.items()
    } == (tfrecord.decode_example(example))
    for name, value in features.items():
        place = find_value(data, *found[name.encode()])
        if isinstance(value, bytes):
            assert place is not None
            assert data[slice(*place)] == value


@given(features=FEATURES, data=st.data())
def test_changed_bytes_are_malformed_or_stay_inside(
    features: dict[str, bytes | int], data: st.DataObject
) -> None:
    example = bytearray(tfrecord.encode_example(features) or b"\n\0")
    for _ in range(data.draw(st.integers(1, 4))):
        example[data.draw(st.integers(0, len(example) - 1))] = data.draw(st.integers(0, 255))
    with suppress(Malformed):
        for start, stop in find_features(example, 0, len(example)).values():
            assert 0 <= start <= stop <= len(example)
            place = find_value(example, start, stop)
            assert place is None or start <= place[0] <= place[1] <= stop


@given(data=st.binary(max_size=60))
def test_any_bytes(data: bytes) -> None:
    with suppress(Malformed):
        find_features(data, 0, len(data))
    with suppress(Malformed):
        find_value(data, 0, len(data))
