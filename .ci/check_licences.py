"""Check the licences in an SBOM (CycloneDX JSON, made by cyclonedx-bom): each must fit a work under Apache-2.0.

    python .ci/check_licences.py sbom.cdx.json

Prints what does not fit, or has no licence that we know of, and ends with 1.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

PERMISSIVE = {
    *("0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "BSL-1.0", "CC0-1.0", "CNRI-Python", "HPND", "ISC", "MIT"),
    *("MIT-0", "PSF-2.0", "Python-2.0", "Unlicense", "Zlib"),
    "MPL-2.0",  # of single files, which we do not change
    *("Apache Software License", "BSD License", "ISC License (ISCL)", "MIT License", "Public Domain"),
    *("Python Software Foundation License", "Mozilla Public License 2.0 (MPL 2.0)", "zlib/libpng License"),
}
READ_BY_HAND = {
    "atheris": "Apache-2.0",
    "onnxruntime-genai": "MIT",
    "protobuf": "BSD-3-Clause",
    "sqlcipher3": "Zlib",  # with SQLCipher (BSD-3-Clause) and OpenSSL (Apache-2.0) inside
    "sqlite-fts4": "Apache-2.0",
}
"""Packages whose metadata name no licence in a form that the SBOM takes; their licence files do."""


def words_of(entry: dict[str, Any]) -> list[str]:
    """The licences of one entry of a component; all of an AND, and all of an OR (which is stricter than need be)."""
    if "expression" in entry:
        return re.split(r"\s+(?:AND|OR)\s+", re.sub(r"[()]", "", entry["expression"]))
    licence = entry["license"]
    return [licence["id"] if "id" in licence else licence["name"].rpartition(" :: ")[2]]


def problems(sbom: dict[str, Any]) -> list[str]:
    """One line for each component that does not fit."""
    found = []
    for component in sbom["components"]:
        name = component["name"].lower().replace("_", "-")
        named = [word for entry in component.get("licenses", ()) for word in words_of(entry)] or [
            READ_BY_HAND.get(name, "no licence named")
        ]
        if odd := [word for word in named if word not in PERMISSIVE]:
            found.append(f"{name} {component['version']}: {', '.join(odd)}")
    return found


def main() -> None:
    sbom = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    found = problems(sbom)
    sys.stdout.write("\n".join(found or [f"{len(sbom['components'])} packages, all licences fit"]) + "\n")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
