"""An editable install that works below any folder: its .pth is ASCII.

Python reads a .pth in the system's encoding (before 3.12.4 on all systems), hatchling writes UTF-8. Below a folder such
as `C:\\Users\\홍길동` with a Korean Windows every start of Python would end in an error, that of pip too.
"""

import base64
import hashlib
import zipfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class AsciiPath(BuildHookInterface):
    """Writes the paths of an editable wheel's .pth as a line of Python with escapes, where they are not ASCII."""

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Rewrite the wheel, its RECORD with it."""
        if version != "editable":
            return
        with zipfile.ZipFile(artifact_path) as wheel:
            files = [(info, wheel.read(info)) for info in wheel.infolist()]
        (pth,) = (info.filename for info, _ in files if info.filename.endswith(".pth"))
        content = b"".join(data for info, data in files if info.filename == pth)
        if content.isascii():
            return
        paths = dict.fromkeys(content.decode().splitlines())
        ascii_only = "".join(f"import sys; sys.path.append({path!a})\n" for path in paths).encode()
        digest = base64.urlsafe_b64encode(hashlib.sha256(ascii_only).digest()).rstrip(b"=").decode()
        Path(artifact_path).unlink()
        with zipfile.ZipFile(artifact_path, "w", zipfile.ZIP_DEFLATED) as wheel:
            for info, data in files:
                if info.filename == pth:
                    data = ascii_only
                elif info.filename.endswith(".dist-info/RECORD"):
                    lines = data.decode().splitlines()
                    own = f"{pth},sha256={digest},{len(ascii_only)}"
                    data = "\n".join(own if line.startswith(f"{pth},") else line for line in lines).encode() + b"\n"
                wheel.writestr(info, data)
