"""Where the embedded database is while a server runs on it, so that commands work beside that server."""

import os
from pathlib import Path
from urllib.parse import quote

from server.postgres.cluster import DATABASE, PORT, USER, Cluster, EmbeddedPostgresError
from server.postgres.process import find_listener


def find_running(folder: Path, bin_dir: Path | None) -> str | None:
    """Return the DSN of the embedded PostgreSQL that runs in a folder, None when none does.

    Raises:
        EmbeddedPostgresError: one runs that cannot be reached from here, or there is no PostgreSQL at all.
    """
    cluster = Cluster(folder, bin_dir)
    try:
        if cluster.run.exists() and cluster.run.lstat().st_uid != os.geteuid():  # it may stand where everybody writes
            raise EmbeddedPostgresError(f"{cluster.run} belongs to another user: run this as the user of the server.")
        process = find_listener(cluster.socket)
    except OSError as error:
        raise EmbeddedPostgresError(f"PostgreSQL in {folder} cannot be reached: {error}.") from None
    if process is None:
        return None
    process.close()
    return f"postgresql://{USER}@/{DATABASE}?host={quote(str(cluster.run), safe='')}&port={PORT}"
