"""What becomes of data when its resource goes: it never goes with it."""

from __future__ import annotations

from collections.abc import Mapping

# A creation that fails leaves nothing behind; a deletion leaves the data.
RETAIN: Mapping[str, str] = {"DeletionPolicy": "RetainExceptOnCreate", "UpdateReplacePolicy": "Retain"}
SNAPSHOT: Mapping[str, str] = {"DeletionPolicy": "Snapshot", "UpdateReplacePolicy": "Snapshot"}
BACKUP_TAG = "pegasus:backup"
