#!/usr/bin/env bash
# Build the wheel and the sdist, and use each in an environment of its own. The files are in dist/.
set -euo pipefail
unset PYTHONPATH # a checkout named there would stand in for what was packed
cd "$(dirname "$0")/.."
python="${PYTHON:-python3}"
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT

rm -rf dist build
"$python" -m venv "$work/build"
"$work/build/bin/pip" install --quiet build twine cyclonedx-bom
"$work/build/bin/python" -m build --outdir dist . >"$work/build.log" || { cat "$work/build.log"; exit 1; }
"$work/build/bin/twine" check --strict dist/*

for file in "$PWD"/dist/*.whl "$PWD"/dist/*.tar.gz; do
    environment="$work/$(basename "$file")"
    "$python" -m venv "$environment"
    "$environment/bin/pip" install --quiet "$file"
    ( # outside of the checkout, so that only what was packed is found
        cd "$work" && rm -rf set shards folders once page
        "$environment/bin/python" -m faceprep.synthetic set >/dev/null
        "$environment/bin/faceprep" convert set shards/train.tar --shards 2 --quiet
        "$environment/bin/faceprep" rec2folder set folders --quiet
        "$environment/bin/faceprep" manifest folders train.npz --seed 1 --quiet
        "$environment/bin/faceprep" inspect shards
        "$environment/bin/faceprep" --version
        "$environment/bin/pip" install --quiet "$file[report,review]" # their pages are files too
        "$environment/bin/faceprep" dedupe folders once --embedder none --quiet
        "$environment/bin/faceprep" report once --card --quiet
        "$environment/bin/faceprep" review once/plan.jsonl --static page --quiet
    )
done
"$work/build/bin/cyclonedx-py" environment "$environment" --output-format JSON --output-file dist/sbom.json
echo "dist/ holds:" && ls dist
