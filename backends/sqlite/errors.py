"""The one place where apsw's exceptions become ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import apsw

from memrelay.errors import MemrelayError, Permanent, Transient, Unavailable

TRANSLATIONS: dict[type[Exception], type[MemrelayError]] = {
    # Another writer, a full disk, a device that failed: the same call may succeed later.
    apsw.AbortError: Transient,
    apsw.BusyError: Transient,
    apsw.FullError: Transient,
    apsw.IOError: Transient,
    apsw.InterruptError: Transient,
    apsw.LockedError: Transient,
    apsw.NoMemError: Transient,
    apsw.ProtocolError: Transient,
    apsw.SchemaChangeError: Transient,
    # The file or its folder cannot be used by us now: mounts and permissions get mended.
    apsw.AuthError: Unavailable,
    apsw.CantOpenError: Unavailable,
    apsw.PermissionsError: Unavailable,
    apsw.ReadOnlyError: Unavailable,
    # The file is broken, or no database.
    apsw.CorruptError: Permanent,
    apsw.FormatError: Permanent,
    apsw.NotADBError: Permanent,
    # This memory, or this call, can never be stored.
    apsw.ConstraintError: Permanent,
    apsw.EmptyError: Permanent,
    apsw.Error: Permanent,
    apsw.MismatchError: Permanent,
    apsw.NotFoundError: Permanent,
    apsw.RangeError: Permanent,
    apsw.SQLError: Permanent,
    apsw.TooBigError: Permanent,
    # A build of SQLite that lacks what we need.
    apsw.ExtensionLoadingError: Permanent,
    apsw.NoFTS5Error: Permanent,
    apsw.NoLFSError: Permanent,
    apsw.VFSFileClosedError: Permanent,
    apsw.VFSNotImplementedError: Permanent,
    # Our own misuse of apsw.
    apsw.BindingsError: Permanent,
    apsw.ConnectionClosedError: Permanent,
    apsw.ConnectionNotClosedError: Permanent,
    apsw.CursorClosedError: Permanent,
    apsw.ExecTraceAbort: Permanent,
    apsw.ExecutionCompleteError: Permanent,
    apsw.ForkingViolationError: Permanent,
    apsw.IncompleteExecutionError: Permanent,
    apsw.InternalError: Permanent,
    apsw.InvalidContextError: Permanent,
    apsw.MisuseError: Permanent,
    apsw.ThreadingViolationError: Permanent,
}


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Raise ours for apsw's; the message starts with ``what``."""
    try:
        yield
    except apsw.Error as error:
        kind = TRANSLATIONS.get(type(error), Permanent)
        raise kind(f"{what}: {type(error).__name__}: {error}") from error
