"""The forms of reports and receipts."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Literal

from pydantic import Field

from pegasus.integrity.check import Difference
from pegasus.integrity.erasure import Receipt
from pegasus.integrity.records import BackupRecord
from pegasus.integrity.service import Report
from pegasus.schemas import Schema, moment

_SHOWN_IDS = 20


class DifferenceOut(Schema):
    store: str = Field(examples=["vectors"])
    kind: str = Field(examples=["missing"])
    workspace_id: str | None
    document_id: str | None = Field(description="Null for what belongs to no document")
    ids: list[str] = Field(description="Of the passages, files, answers or nodes that it is about, 20 at most")
    count: int = Field(description="How many these are in all")
    detail: str

    @classmethod
    def of(cls, difference: Difference) -> DifferenceOut:
        store, _, kind = difference.kind.partition(":")
        return cls(
            store=store,
            kind=kind,
            workspace_id=difference.workspace_id or None,
            document_id=difference.document_id,
            ids=list(difference.ids[:_SHOWN_IDS]),
            count=len(difference.ids),
            detail=difference.detail,
        )


class ConnectionsOut(Schema):
    each: int = Field(description="What one process takes of PostgreSQL's connections at most", examples=[12])
    available: int = Field(description="What there is for all of them", examples=[97])
    pooled: bool = Field(description="Whether a pooler stands between, whose limits are its own")


class IntegrityOut(Schema):
    consistent: bool = Field(description="Whether all stores agree")
    differences: list[DifferenceOut] = Field(description="By document, the first 1,000")
    counts: dict[str, int] = Field(description="All differences, by store and kind", examples=[{"vectors:missing": 2}])
    checked: dict[str, int] = Field(description="What was compared", examples=[{"documents": 12, "passages": 80}])
    took_ms: float
    connections: ConnectionsOut | None = Field(description="Null in a file, and for who sees one workspace alone")

    @classmethod
    def of(cls, report: Report) -> IntegrityOut:
        return cls(
            consistent=report.consistent,
            differences=[DifferenceOut.of(difference) for difference in report.differences],
            counts=dict(report.by_kind),
            checked=dict(report.checked),
            took_ms=round(report.took_ms, 1),
            connections=ConnectionsOut(**asdict(report.connections)) if report.connections else None,
        )


class RebuildIn(Schema):
    stores: list[Literal["vectors", "graph", "fulltext"]] = Field(min_length=1, examples=[["vectors"]])


class LookOut(Schema):
    store: str = Field(examples=["vectors"])
    looked_for: str = Field(examples=["12 passages by id"])
    left: int = Field(description="What was found; an erasure is over only when nothing is", examples=[0])


class HoldingBackupOut(Schema):
    id: str
    name: str = Field(description="Of its file", examples=["pegasus-2026-01-31"])
    created_at: datetime
    expires_at: datetime | None = Field(description="When it is to be deleted; null where nobody has said")

    @classmethod
    def of(cls, backup: BackupRecord) -> HoldingBackupOut:
        expires_at = None if backup.expires_at is None else moment(backup.expires_at)
        return cls(id=backup.id, name=backup.name, created_at=moment(backup.created_at), expires_at=expires_at)


class ErasureOut(Schema):
    id: str = Field(description="Also of its job")
    scope: Literal["document", "workspace"]
    subject_id: str = Field(description="Of the document or the workspace that was erased")
    state: Literal["accepted", "verified", "purged"] = Field(
        description="accepted: nothing finds it; verified: removed from every store and not found by any look; "
        "purged: no byte of it is left in the free space of the stores either"
    )
    requested_at: datetime
    verified_at: datetime | None
    purged_at: datetime | None = Field(description="When a compaction wrote the stores anew")
    removed: dict[str, int] = Field(examples=[{"passages": 12, "vectors": 12, "files": 1}])
    looks: list[LookOut] = Field(description="Where it was looked for when all was removed")
    backups: list[HoldingBackupOut] = Field(
        description="Backups from before it that have not expired: what was erased may still be in them"
    )

    @classmethod
    def of(cls, receipt: Receipt) -> ErasureOut:
        return cls(
            id=receipt.id,
            scope=receipt.scope,
            subject_id=receipt.subject_id,
            state=receipt.state,
            requested_at=moment(receipt.requested_at),
            verified_at=moment(receipt.verified_at) if receipt.verified_at else None,
            purged_at=moment(receipt.purged_at) if receipt.purged_at else None,
            removed=dict(receipt.removed),
            looks=[LookOut(store=look.store, looked_for=look.looked_for, left=look.left) for look in receipt.looks],
            backups=[HoldingBackupOut.of(backup) for backup in receipt.backups],
        )
