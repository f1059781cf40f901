"""Writing files so that a reader, or a run that was killed, never finds half of one."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import IO


def write_atomically(path: Path, content: IO[bytes]) -> None:
    """Replace a file in one step; its folder must exist.

    Raises:
        OSError: it cannot be written; the file is then as it was.
    """
    # What every new file gets; a temporary file is made for its owner alone.
    mask = os.umask(0)
    os.umask(mask)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".saving-")
    work = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            shutil.copyfileobj(content, file)
            file.flush()
            os.fsync(file.fileno())
        work.chmod(0o666 & ~mask)
        work.replace(path)
    except BaseException:
        work.unlink(missing_ok=True)
        raise
