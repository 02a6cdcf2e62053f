"""YAML for the tests in Rust: manifests.py json FILE... prints the documents as a list of JSON;
manifests.py validate CRDS FILE... holds each against what Kubernetes knows, strictly, and those of operators against the
schemas in CRDS (JSON, by kind). Prints a line for each object, and fails with the first that does not fit.
"""

import json
import pathlib
import sys

import yaml


def documents(files):
    for file in files:
        yield from yaml.safe_load_all(pathlib.Path(file).read_text())


def validate(document, crds):
    import jsonschema
    import kubernetes_validate

    kind = document["kind"]
    if kind in crds:
        jsonschema.Draft202012Validator(crds[kind]).validate(document)
    else:
        kubernetes_validate.validate(document, kubernetes_validate.latest_version(), strict=True)


command, *files = sys.argv[1:]
if command == "json":
    print(json.dumps(list(documents(files))))
else:
    crds = json.loads(pathlib.Path(files.pop(0)).read_text())
    for document in documents(files):
        named = f"{document['kind']}/{document['metadata']['name']}"
        try:
            validate(document, crds)
        except Exception as error:
            sys.exit(f"{named}: {error}")
        print(named)
