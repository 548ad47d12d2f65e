#!/usr/bin/env bash
# Sentry orders releases by `compare_version` of its ingestion library (PyPI `sentry-relay` 0.10.1) where both are versions. By that
# order an issue that is resolved in a release regresses, or not. It is not Semantic Versioning's:
#   - A numeric part of a pre-release is text there. SemVer 2.0.0 (11.4.1) compares it as a number, so 1.0.0-rc.10 is newer than
#     1.0.0-rc.2. For Sentry it is older, so an error in rc.10 does not reopen what was resolved in rc.2.
#   - Build metadata counts. SemVer (10) ignores it. A version with any is newer than without, two numbers compare as numbers, and
#     everything else as text.
#   - A suffix without a hyphen makes a pre-release after `7.0` and none after `7`, which then is no version at all.
# Observed behaviour, which this script demands (exit 1 when it changes). The sign is that of the comparison, left to right:
#   1.0.0-rc.10 < 1.0.0-rc.2
#   1.0.0-10 < 1.0.0-9
#   1.0.0+abc > 1.0.0
#   1.0.0+5 < 1.0.0+10
#   1.0.0+b10 < 1.0.0+b9
#   7.0rc1 is a version
#   7-rc1 is a version
#   7rc1 is no version
# Needs: bash, python3 with venv. Takes some seconds.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip -q --disable-pip-version-check install sentry-relay==0.10.1

cat >order.py <<'PY'
from sentry_relay.processing import compare_version, parse_release
pairs = [
    ("1.0.0-rc.10", "1.0.0-rc.2"),
    ("1.0.0-10", "1.0.0-9"),
    ("1.0.0+abc", "1.0.0"),
    ("1.0.0+5", "1.0.0+10"),
    ("1.0.0+b10", "1.0.0+b9"),
]
for left, right in pairs:
    print(left, {-1: "<", 0: "=", 1: ">"}[compare_version(left, right)], right)
for version in ("7.0rc1", "7-rc1", "7rc1"):
    is_version = parse_release(f"app@{version}")["version_parsed"] is not None
    print(version, "is a version" if is_version else "is no version")
PY
venv/bin/python order.py | tee seen

cat >expected <<'TEXT'
1.0.0-rc.10 < 1.0.0-rc.2
1.0.0-10 < 1.0.0-9
1.0.0+abc > 1.0.0
1.0.0+5 < 1.0.0+10
1.0.0+b10 < 1.0.0+b9
7.0rc1 is a version
7-rc1 is a version
7rc1 is no version
TEXT
diff expected seen
